"""What the runs of one sweep share: nothing that another cell has made already is made again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from coldlm.config.schema import RunConfig
from coldlm.core.progress import listed
from coldlm.core.tables import Dataset, read_only
from coldlm.evaluate.judge import Judged
from coldlm.experiment.baselines import JudgedBaselines
from coldlm.experiment.world import World, cut_keys, read_data, world_of
from coldlm.runs.identity import NOT_PART_OF_A_RUN
from coldlm.runs.record import Key, Summary

log = logging.getLogger("coldlm")

SEEN_BY_TRAINING = ("probe", "label_delay_seconds")
"""Of ``online``: what nothing trains on, and what is not known yet."""


@dataclass
class JudgedModel:
    """What stage evaluate has found of a model, for all cells of a sweep that evaluate the same
    weights: those that differ in their schedules alone.

    ``rows``: schedule -> the stream as judged. ``latency_ms``, ``first_stage``: as the manifest has
    them. ``classes``: of a classifier, its report and what is said of it. ``lists``, ``shown``: name
    -> its lists and what they hold. ``summaries``: of ``rows``, as far as a run has told of them.
    """

    rows: dict[str, Judged]
    latency_ms: dict[str, float]
    first_stage: dict[str, Any] | None
    classes: tuple[pl.DataFrame, dict[str, Any]] | None
    lists: dict[str, pl.DataFrame]
    shown: dict[str, dict[str, float]]
    summaries: dict[Key, Summary] = field(default_factory=dict)


@dataclass(frozen=True)
class _Cut:
    """``key``: all that a world depends on besides the content of files. ``data``: as read, or None
    where the world does not hold its log. ``leaks``: seed -> what was metered."""

    key: str
    data: Dataset | None
    world: World
    leaks: dict[int, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Kept:
    """Of all runs of this process so far. ``baselines``: those that were judged last. ``model``: the
    one that was judged last, and all that it depends on. ``trained``: what stage train depends on ->
    the folder of the run that has done it. ``cut``: the world of the run before."""

    cut: _Cut | None = None
    model: tuple[str, JudgedModel] | None = None
    baselines: JudgedBaselines = field(default_factory=JudgedBaselines)
    trained: dict[str, Path] = field(default_factory=dict)

    def world(self, config: RunConfig) -> World:
        """Return what the configuration makes of its data: the world of the run before, if its data
        are still the same and nothing else is asked of them. It belongs to several runs: its arrays
        are read-only.

        Raises:
            ConfigError, DataError: see ``make_world``.
        """
        key = json.dumps([config.dataset, cut_keys(config)], sort_keys=True, default=str)
        if self.cut and self.cut.key != key:
            self.cut = None  # before another one is made
        data = read_data(config)
        if self.cut is None or self.cut.data is not data:
            self.cut = None
            world = world_of(config, data)
            # queries become tensors, which torch wants to be able to write to
            read_only(world.data, world.split, world.meets_at, world.probe)
            # data that were cut into other ones are read again, not held beside them
            self.cut = _Cut(key, data if world.data.log is data.log else None, world)
        return self.cut.world

    def leaks(self, seed: int, meter: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what ``meter`` says of the last world, asked once for each seed of its sample."""
        found = self.cut.leaks if self.cut else {}
        if seed in found:
            log.info("leak meter: %s, as for an earlier run", listed(found[seed]["leaks"]))
        else:
            found[seed] = meter()
        return found[seed]


def training_key(config: RunConfig, hashes: Mapping[str, str]) -> str:
    """Return all that the weights before the stream depend on, of a run over files with these
    ``hashes``: two that agree in it differ in their schedules alone, and would train the same to the
    bit."""
    values = {key: value for key, value in config.plain().items() if key not in NOT_PART_OF_A_RUN}
    values["online"] = {key: values["online"][key] for key in SEEN_BY_TRAINING}
    return json.dumps([values, dict(hashes)], sort_keys=True, default=str)
