"""What somebody asks of a report: which metric it is about, which runs, and how its table is laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import polars as pl

from coldlm.core.errors import ConfigError
from coldlm.core.spelling import did_you_mean
from coldlm.report.compare import WITHOUT_BACKBONE
from coldlm.report.found import AnyRun, FailedRun, FinishedRun
from coldlm.report.target import Target

AXES: Final = ("dataset", "split", "candidates", "backbone", "strategy", "head", "context", "loss", "control", "online",
               "seed")  # fmt: skip
"""Of ``Asked.only``; ``tag`` and keys of the recipe, such as ``optim.lr``, are axes, too."""

TAG: Final = "tag"
"""One of a run's ``tags``, as ``Asked.only`` has it."""

OF_EVERYBODY: Final = (TAG, "dataset", "split", "candidates", "control", "online", "seed")
"""Axes by which controls without a text are chosen like all other runs. By others they are not: they
are the controls of every strategy, and a choice without them would flatter it."""

AnyOne = TypeVar("AnyOne", bound=AnyRun)


@dataclass(frozen=True)
class Asked:
    """``metric``: of the headline, such as ``recall@20``, nDCG@10 where it is empty. ``only``: (axis, its
    values) of the runs that take part. ``against``: a row to which all others are compared. ``columns``:
    of the headline table, see ``report/columns.py``. ``sort``: one of them, ``:asc`` behind it for the
    smallest first."""

    metric: str = ""
    only: tuple[tuple[str, tuple[str, ...]], ...] = ()
    against: str = ""
    columns: tuple[str, ...] = ()
    sort: str = ""


NOTHING: Final = Asked()


def target_of(metric: str, runs: Sequence[FinishedRun]) -> Target:
    """Return the metric that is called so in some of the runs.

    Raises:
        ConfigError: none of them has it.
    """
    if not metric:
        return Target()
    there = {
        Target(*key)
        for run in runs
        for key in run.results.filter(window=-1, cohort="all", bucket="all", average="macro")
        .filter(pl.col("value").is_not_null())
        .select("metric", "k")
        .unique()
        .rows()
    }
    by_key = {target.key: target for target in sorted(there)}
    if metric not in by_key:
        name, _, k = metric.partition("@")
        uncut = f"; {name} looks at the whole ranking and has no cut" if name in by_key else ""
        is_cut = k and not uncut and name in {target.metric for target in there}
        others = f"; another cut is measured by evaluate.k={k}" if is_cut else ""
        hint = did_you_mean(metric, by_key, begin="; ")
        raise ConfigError(
            f"--metric {metric}: no run has it{hint}{uncut}{others}; there are {', '.join(by_key)}"
        )
    return by_key[metric]


def choose_runs(
    runs: Sequence[FinishedRun],
    failed: Sequence[FailedRun],
    only: Sequence[tuple[str, tuple[str, ...]]],
) -> tuple[list[FinishedRun], list[FailedRun]]:
    """Return the runs that have one of the values on each axis. A value is that of the axis, or its first
    word (``lora`` of "lora rank=8 alpha=16"). Controls without a text stay on axes of the model.

    Raises:
        ConfigError: an axis that no run has, a value that no run has on it, or no run that has all.
    """
    problems = [
        problem for axis, values in only for problem in _problems(axis, values, [*runs, *failed])
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    kept, lost = _among(runs, only), _among(failed, only)
    if only and not kept:
        raise ConfigError(f"{words_of(only)}: no finished run has all of these; ask for fewer")
    return kept, lost


def words_of(only: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    """Return the choice as it was asked for."""
    return " ".join(f"--only {axis}={','.join(values)}" for axis, values in only)


def _among(runs: Sequence[AnyOne], only: Sequence[tuple[str, tuple[str, ...]]]) -> list[AnyOne]:
    return [
        run
        for run in runs
        if all(
            _words(run, axis) & set(values)
            or (axis not in OF_EVERYBODY and run.facts["control"] in WITHOUT_BACKBONE)
            for axis, values in only
        )
    ]


def _words(run: AnyRun, axis: str) -> set[str]:
    """What a run's value on an axis may be called."""
    if axis == TAG:
        return set(run.manifest.tags)
    if axis not in AXES and axis not in run.manifest.recipe:
        return set()
    value = str(run.facts[axis] if axis in AXES else run.manifest.recipe[axis])
    return {value, value.partition(" ")[0]}


def _problems(axis: str, values: Sequence[str], runs: Sequence[AnyRun]) -> list[str]:
    keys = {key for run in runs for key in run.manifest.recipe}
    if axis not in (TAG, *AXES) and axis not in keys:
        hint = did_you_mean(axis, [TAG, *AXES, *sorted(keys)], begin="; ")
        return [
            f"--only {axis}=...: no such axis{hint}; there are {', '.join([TAG, *AXES])}, and the keys of the "
            "configuration, such as optim.lr"
        ]
    there = sorted({word for run in runs for word in _words(run, axis)})
    first = ", ".join(dict.fromkeys(word.partition(" ")[0] for word in there))
    return [
        f"--only {axis}={value}: no run has it{did_you_mean(value, there, begin='; ')}; there are {first}"
        for value in values
        if value not in there
    ]
