"""What the runs of one sweep share: nothing that another cell has made already is made again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from coldlm.config.schema import RunConfig
from coldlm.evaluate.judge import Judged
from coldlm.experiment.baselines import JudgedBaselines
from coldlm.runs.identity import NOT_PART_OF_A_RUN
from coldlm.runs.record import Key, Summary

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


@dataclass
class Kept:
    """Of all runs of this process so far. ``baselines``: those that were judged last. ``model``: the
    one that was judged last, and all that it depends on. ``trained``: what stage train depends on ->
    the folder of the run that has done it."""

    model: tuple[str, JudgedModel] | None = None
    baselines: JudgedBaselines = field(default_factory=JudgedBaselines)
    trained: dict[str, Path] = field(default_factory=dict)


def training_key(config: RunConfig, hashes: Mapping[str, str]) -> str:
    """Return all that the weights before the stream depend on, of a run over files with these
    ``hashes``: two that agree in it differ in their schedules alone, and would train the same to the
    bit."""
    values = {key: value for key, value in config.plain().items() if key not in NOT_PART_OF_A_RUN}
    values["online"] = {key: values["online"][key] for key in SEEN_BY_TRAINING}
    return json.dumps([values, dict(hashes)], sort_keys=True, default=str)
