"""Runs that answered the same queries -> rows averaged over seeds: strategies, controls, baselines,
in that order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import polars as pl

from coldlm.config.kinds import Rival, Strategy
from coldlm.config.options import names
from coldlm.config.schedules import SCHEDULES
from coldlm.core.columns import CONTROLS, MANDATORY_BASELINES, MODEL, NOT_KNOWN
from coldlm.report.labels import Labels, label_runs
from coldlm.report.rows import (
    CELL,
    KINDS,
    SLICE,
    WITHOUT_UPDATES,
    Comparison,
    FinishedRun,
    Row,
)

ORDER: Final = ("history", *(schedule.name for schedule in SCHEDULES), "static")
"""Of schedules."""

TEXT_BASELINES: Final = ("tfidf", "zero_shot")
"""Read item texts, so a control run, which may have permuted them, is not where they are taken
from."""

WITHOUT_BACKBONE: Final = ("context_only", "random_vectors")
"""Controls that use no pre-trained weight: the date of the checkpoint does not concern them."""

TOLERANCE: Final = 1e-9

STANDS: Final = pl.col("schedule").is_in(WITHOUT_UPDATES)
"""Rows whose weights stay as trained."""


def compare(title: str, runs: list[FinishedRun]) -> Comparison:
    """Return the rows of ``runs``, all of which asked the same question; baselines, which every run
    repeats, appear once."""
    labels = label_runs(runs)
    backbones = {run.facts["backbone"] for run in runs if run.facts["control"] == "none"}
    backbones -= {NOT_KNOWN}
    # runs with their own texts first, so that baselines are taken from them
    ordered = sorted(
        zip(runs, labels, strict=True), key=lambda pair: pair[0].facts["control"] != "none"
    )
    several = len(backbones) > 1
    all_results = [_named(run, label, run.results, several) for run, label in ordered]
    all_users = [_named(run, label, run.users, several) for run, label in ordered]
    results, differing = _without_repeats(
        pl.concat(all_results, how="vertical_relaxed"), (*CELL, "stage")
    )
    users, _ = _without_repeats(pl.concat(all_users, how="vertical_relaxed"), (*SLICE, "user"))
    rows = _order_rows(results, runs, labels)
    index = pl.DataFrame(
        [(i, row.kind, row.label, row.schedule) for i, row in enumerate(rows)],
        schema={"row": pl.Int64, "kind": pl.String, "label": pl.String, "schedule": pl.String},
        orient="row",
    )
    counts = ("n_users", "n_queries", "n_events")
    measured = pl.col("value").mean(), *(pl.col(name).max() for name in counts)
    # seeds in one order: sums in another have other last bits
    by_seed = (
        _join(results, index).group_by("row", "seed", *CELL).agg(*measured).sort("row", "seed")
    )
    values = by_seed.group_by("row", *CELL).agg(*measured)
    per_user = (
        _join(users, index).group_by("row", *SLICE, "seed", "user").agg(pl.col("value").mean())
    )
    first = runs[0].facts
    manifests = tuple(run.manifest for run in runs)
    comparison = Comparison(
        title, first["split"], first["candidates"], manifests, rows, values.sort("row", *CELL),
        per_user.sort("row", *SLICE, "seed", "user"), (),
    )  # fmt: skip
    return replace(comparison, warnings=(*differing, *_disagreements(comparison)))


def _named(
    run: FinishedRun, label: Labels, frame: pl.DataFrame, several_backbones: bool
) -> pl.DataFrame:
    """``frame`` with ``kind, label, seed, folder`` of every row."""
    is_model = pl.col("scorer") == MODEL
    zero_shot = f"zero_shot · {run.facts['backbone']}" if several_backbones else "zero_shot"
    baseline = pl.when(pl.col("scorer") == "zero_shot").then(pl.lit(zero_shot)).otherwise("scorer")
    kind = _kind(run)
    if kind == "control":
        frame = frame.filter(~pl.col("scorer").is_in(TEXT_BASELINES))
    own = pl.when(STANDS).then(pl.lit(label.standing)).otherwise(pl.lit(label.moving))
    return frame.with_columns(
        pl.when(is_model).then(pl.lit(kind)).otherwise(pl.lit("baseline")).alias("kind"),
        pl.when(is_model).then(own).otherwise(baseline).alias("label"),
        pl.lit(run.facts["seed"], pl.Int64).alias("seed"),
        pl.lit(run.facts["run"]).alias("folder"),
        pl.col("value").cast(pl.Float64).fill_nan(None),
    )


def _without_repeats(frame: pl.DataFrame, cell: tuple[str, ...]) -> tuple[pl.DataFrame, list[str]]:
    """What several runs repeat, once per seed: baselines, under one schedule, and weights that stay
    as trained; and a warning for each whose copies differ."""
    order = {name: i for i, name in enumerate(ORDER)}
    rank = pl.col("schedule").replace_strict(order, default=len(order), return_dtype=pl.Int64)
    is_baseline = pl.col("kind") == "baseline"
    baselines = frame.filter(is_baseline).filter(rank == rank.min().over("label"))
    repeated = pl.concat([baselines, frame.filter(~is_baseline & STANDS)])
    key = ["kind", "label", "schedule", "seed", *cell]
    spread = repeated.group_by(key, maintain_order=True).agg(
        (pl.col("value").max() - pl.col("value").min()).alias("spread"), pl.col("folder").unique()
    )
    differing = spread.filter(pl.col("spread") > TOLERANCE).group_by(
        "kind", "label", maintain_order=True
    )
    reasons = {
        "baseline": "they read other histories or cut texts otherwise, or did not answer the same "
        "queries"
    }
    warnings = [
        f"{kind} `{label}` differs by up to {spread:.2g} between runs of one seed "
        f"({', '.join(sorted(folders))}): "
        f"{reasons.get(kind, 'they are of other machines, thread counts or versions')}; the first "
        "is shown"
        for kind, label, spread, folders in differing.agg(
            pl.col("spread").max(), pl.col("folder").explode().unique()
        ).iter_rows()
    ]
    once = repeated.unique(key, keep="first", maintain_order=True)
    return pl.concat([frame.filter(~is_baseline & ~STANDS), once]), warnings


def _join(frame: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    return frame.join(index, on=["kind", "label", "schedule"], how="inner")


def _order_rows(
    results: pl.DataFrame, runs: list[FinishedRun], labels: list[Labels]
) -> tuple[Row, ...]:
    found = results.group_by("kind", "label", "schedule").agg(pl.col("seed").n_unique()).rows()
    rows = []
    for kind, label, schedule, seeds in found:
        behind = [
            run
            for run, its in zip(runs, labels, strict=True)
            if kind == _kind(run) and its.of(schedule) == label and _has(run, schedule)
        ]
        dated = [run for run in behind if run.facts["control"] not in WITHOUT_BACKBONE]
        if label.startswith("zero_shot"):
            backbone = label.removeprefix("zero_shot").removeprefix(" · ")
            dated = [
                run
                for run in runs
                if _kind(run) == "strategy" and backbone in ("", run.facts["backbone"])
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
            (run.manifest.rivals or {}).get(label, {}).get("epochs") is not None for run in runs
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
        if (_kind(run) == "strategy" or scorer not in TEXT_BASELINES)
        and backbone in ("", run.facts["backbone"])
    ]
    return scorer, list({run.facts["seed"]: run for run in reversed(own)}.values())


def _has(run: FinishedRun, schedule: str) -> bool:
    """Whether a run has rows of this schedule."""
    return schedule in run.schedules


def _kind(run: FinishedRun) -> str:
    return "strategy" if run.facts["control"] == "none" else "control"


def _place(row: Row) -> tuple[Any, ...]:
    """Strategies, controls, baselines; inside each the order of the protocol; then the schedule."""
    orders = names(Strategy), CONTROLS, (*MANDATORY_BASELINES, *names(Rival))
    known = dict(zip(KINDS, orders, strict=True))[row.kind]
    first = row.label.split(" · ")[0]
    if row.kind == "baseline":
        first = Rival.parts(first)[0]
    at = known.index(first) if first in known else len(known)
    when = ORDER.index(row.schedule) if row.schedule in ORDER else 1
    return KINDS.index(row.kind), at, row.label, when, row.schedule


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
