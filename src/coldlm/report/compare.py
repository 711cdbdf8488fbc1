"""Runs that answered the same queries -> rows averaged over seeds: strategies, controls, baselines,
in that order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, Final

import polars as pl

from coldlm.config.kinds import Rival, Strategy
from coldlm.config.options import names
from coldlm.core.columns import CONTROLS, MANDATORY_BASELINES, MODEL, NOT_KNOWN
from coldlm.report.found import FailedRun, FinishedRun
from coldlm.report.labels import Labels, label_runs
from coldlm.report.repeats import TEXT_BASELINES, Key, kind_of, once, say, when
from coldlm.report.rows import CELL, KINDS, SLICE, Comparison, FailedRow, Row, UserValues
from coldlm.report.target import VIEW_METRICS, K, Target

WITHOUT_BACKBONE: Final = ("context_only", "random_vectors")
"""Controls that use no pre-trained weight: the date of the checkpoint does not concern them."""

COUNTS: Final = ("n_users", "n_queries", "n_events")

MEASURED: Final = ("stage", *CELL, *COUNTS)
OF_USERS: Final = (*SLICE, "user")
"""Columns of a run's results, and of what it says of users, beside the value."""


def compare(
    title: str,
    runs: list[FinishedRun],
    target: Target | None = None,
    failed: Sequence[FailedRun] = (),
    others: Sequence[FinishedRun] = (),
) -> Comparison:
    """Return the rows of ``runs``, all of which asked the same question; baselines, which every run
    repeats, appear once. ``failed``: runs that would have asked it, too. ``others``: runs that asked it,
    of which baselines alone are taken: a pack keeps them with one run for all."""
    target = target or Target()
    of_all = label_runs([*runs, *failed])
    labels = of_all[: len(runs)]
    backbones = {run.facts["backbone"] for run in runs if run.facts["control"] == "none"}
    backbones -= {NOT_KNOWN}
    # runs with their own texts first, so that baselines are taken from them
    ordered = sorted(
        zip(runs, labels, strict=True), key=lambda pair: pair[0].facts["control"] != "none"
    )
    several = len(backbones) > 1
    ordered += [
        (its, Labels("", ""))
        for run in others
        if (its := _baselines(run, runs, backbones)).results.height
    ]
    results, differing = once(
        [it for run, label in ordered for it in say(run, label, run.results, MEASURED, several)],
        ("stage", *CELL),
    )
    users, _ = once(
        [
            it
            for run, label in ordered
            for it in say(run, label, _of_target(run.users, target), OF_USERS, several)
        ],
        OF_USERS,
    )
    rows = _order_rows(results, runs, labels, others)
    measured = pl.col("value").mean(), *(pl.col(name).max() for name in COUNTS)
    # seeds in one order: sums in another have other last bits
    by_seed = (
        _in_rows(results, rows).group_by("row", "seed", *CELL).agg(*measured).sort("row", "seed")
    )
    values = by_seed.group_by("row", *CELL).agg(*measured)
    first = runs[0].facts
    manifests = tuple(run.manifest for run in runs)
    comparison = Comparison(
        title, first["split"], first["candidates"], manifests, rows, values.sort("row", *CELL),
        UserValues(_in_rows(users, rows)), (), target=target, failed=_missing(failed, of_all[len(runs) :]),
    )  # fmt: skip
    return replace(comparison, warnings=(*differing, *_disagreements(comparison)))


def _baselines(run: FinishedRun, runs: Sequence[FinishedRun], backbones: Set[str]) -> FinishedRun:
    """A run without its own rows, and without what another seed or backbone says of baselines."""
    own = (pl.col("scorer") != MODEL) & (run.facts["seed"] in {it.facts["seed"] for it in runs})
    if run.facts["backbone"] not in backbones:
        own &= pl.col("scorer") != "zero_shot"
    return replace(run, results=run.results.filter(own), users=run.users.filter(own))


def _of_target(users: pl.DataFrame, target: Target) -> pl.DataFrame:
    """Users' values of the metric that is asked for, at its cut, and of the views."""
    own = (pl.col("metric") == target.metric) & (pl.col("k") == target.k)
    return users.filter(own | (pl.col("metric").is_in(VIEW_METRICS) & (pl.col("k") == K)))


def _missing(failed: Sequence[FailedRun], labels: Sequence[Labels]) -> tuple[FailedRow, ...]:
    """What failed, seeds of one row together, in the order of rows."""
    rows: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}
    for run, its in zip(failed, labels, strict=True):
        key = kind_of(run), its.of(run.schedule), run.schedule
        rows.setdefault(key, []).append((str(run.facts["seed"]), run.status, run.why))
    found = [FailedRow(*key, tuple(sorted(ends))) for key, ends in rows.items()]
    return tuple(sorted(found, key=lambda row: (KINDS.index(row.kind), row.label, row.schedule)))


def _in_rows(said: Mapping[Key, pl.DataFrame], rows: tuple[Row, ...]) -> pl.DataFrame:
    """All that is said, with the ``row`` and the ``seed`` it is said of, in their order."""
    place = {(row.kind, row.label, row.schedule): i for i, row in enumerate(rows)}
    found = sorted((place[key[:3]], key.seed, key) for key in said if key[:3] in place)
    if not found:
        return pl.DataFrame(schema=["row", "seed", *SLICE, "user", "value"])
    return pl.concat(
        [
            said[key].with_columns(row=pl.lit(row, pl.Int64), seed=pl.lit(seed, pl.Int64))
            for row, seed, key in found
        ],
        how="vertical_relaxed",
    )


def _order_rows(
    results: Mapping[Key, pl.DataFrame],
    runs: list[FinishedRun],
    labels: list[Labels],
    others: Sequence[FinishedRun],
) -> tuple[Row, ...]:
    rows = []
    for (kind, label, schedule), seeds in Counter(key[:3] for key in results).items():
        behind = [
            run
            for run, its in zip(runs, labels, strict=True)
            if kind == kind_of(run) and its.of(schedule) == label and _has(run, schedule)
        ]
        dated = [run for run in behind if run.facts["control"] not in WITHOUT_BACKBONE]
        if label.startswith("zero_shot"):
            backbone = label.removeprefix("zero_shot").removeprefix(" · ")
            dated = [
                run
                for run in runs
                if kind_of(run) == "strategy" and backbone in ("", run.facts["backbone"])
            ]
        newer = any(
            run.manifest.checkpoint is not None and run.manifest.checkpoint.newer_than_t_test
            for run in dated
        )
        # runs of every schedule have a row of standing weights, whose stream is none of theirs
        moving = [run for run in behind if run.manifest.axes.get("online") == schedule]
        streams = tuple(run.stream for run in moving if run.stream is not None)
        probes = tuple(run.probes for run in moving if run.probes is not None)
        scorer, shows = _whose_lists(kind, label, schedule, behind, runs)
        shown = tuple(said[scorer] for run in shows if scorer in (said := run.manifest.shown or {}))
        lists = tuple(
            its
            for run in shows
            if run.lists is not None and (its := run.lists.filter(scorer=scorer)).height
        )
        manifests = tuple(run.manifest for run in behind)
        learned = kind == "baseline" and any(
            (run.manifest.rivals or {}).get(label, {}).get("epochs") is not None
            for run in (*runs, *others)
        )
        rows.append(
            Row(
                kind,
                label,
                schedule,
                seeds,
                manifests,
                newer,
                learned,
                streams,
                probes,
                shown,
                lists,
            )
        )
    return tuple(sorted(rows, key=_place))


def _whose_lists(
    kind: str, label: str, schedule: str, behind: list[FinishedRun], runs: list[FinishedRun]
) -> tuple[str, list[FinishedRun]]:
    """The scorer of a row in the runs whose lists are its own, a run per seed: lists are those of weights
    as trained, and each run repeats the baselines."""
    if kind != "baseline":
        return MODEL, behind if schedule == "history" else []
    scorer, _, backbone = label.partition(" · ")
    own = [
        run
        for run in runs
        if (kind_of(run) == "strategy" or scorer not in TEXT_BASELINES)
        and backbone in ("", run.facts["backbone"])
    ]
    return scorer, list({run.facts["seed"]: run for run in reversed(own)}.values())


def _has(run: FinishedRun, schedule: str) -> bool:
    """Whether a run has rows of this schedule."""
    return schedule in run.schedules


def _place(row: Row) -> tuple[Any, ...]:
    """Strategies, controls, baselines; inside each the order of the protocol; then the schedule."""
    orders = names(Strategy), CONTROLS, (*MANDATORY_BASELINES, *names(Rival))
    known = dict(zip(KINDS, orders, strict=True))[row.kind]
    first = row.label.split(" · ")[0]
    if row.kind == "baseline":
        first = Rival.parts(first)[0]
    at = known.index(first) if first in known else len(known)
    return KINDS.index(row.kind), at, row.label, when(row.schedule), row.schedule


def _disagreements(comparison: Comparison) -> list[str]:
    """Rows judged on other users than the first, and rows whose two files tell different
    stories."""
    warnings = []
    everyone = set(comparison.per_user(0)["user"])
    for i, row in enumerate(comparison.rows):
        mine, value = comparison.per_user(i), comparison.value(i)
        if set(mine["user"]) != everyone:
            warnings.append(
                f"`{row.name}` was judged on {mine.height} users, `{comparison.rows[0].name}` on "
                f"{len(everyone)}: differences use the users they share"
            )
        mean = mine["value"].mean()
        if value is not None and isinstance(mean, float) and abs(mean - value) > 1e-5:
            warnings.append(
                f"`{row.name}`: per_user.parquet says {mean:.6f}, results.parquet {value:.6f}"
            )
    return warnings
