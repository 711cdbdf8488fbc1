"""Runs that answered the same queries -> rows averaged over seeds: strategies, controls, baselines,
in that order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import polars as pl

from coldlm.config import schedules
from coldlm.config.options import Strategy, names
from coldlm.core.columns import MANDATORY_BASELINES, MANDATORY_CONTROLS, MODEL
from coldlm.report.rows import CELL, KINDS, Comparison, FinishedRun, Row

SCHEDULES: Final = (*(schedule.name for schedule in schedules.SCHEDULES), schedules.STATIC)
TEXT_BASELINES: Final = ("tfidf", "zero_shot")
"""Read item texts, so a control run, which may have permuted them, is not where they are taken
from."""

WITHOUT_BACKBONE: Final = ("context_only", "random_vectors")
"""Controls that use no pre-trained weight: the date of the checkpoint does not concern them."""

TOLERANCE: Final = 1e-9

MOST_KEYS: Final = 3
"""Of those in which configurations differ, shown in a row's name."""


def compare(title: str, runs: list[FinishedRun]) -> Comparison:
    """Return the rows of ``runs``, all of which asked the same question; baselines, which every run
    repeats, appear once."""
    labels = _label_runs(runs)
    backbones = {run.facts["backbone"] for run in runs if run.facts["control"] == "none"}
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
    users, _ = _without_repeats(pl.concat(all_users, how="vertical_relaxed"), ("cohort", "user"))
    rows = _order_rows(results, runs, labels)
    index = pl.DataFrame(
        [(i, row.kind, row.label, row.schedule) for i, row in enumerate(rows)],
        schema={"row": pl.Int64, "kind": pl.String, "label": pl.String, "schedule": pl.String},
        orient="row",
    )
    counts = ("n_users", "n_queries", "n_events")
    mean = pl.col("value").mean()
    values = (
        _join(results, index)
        .group_by("row", *CELL)
        .agg(mean, *(pl.col(name).max() for name in counts))
    )
    per_user = _join(users, index).group_by("row", "cohort", "user").agg(pl.col("value").mean())
    first = runs[0].facts
    manifests = tuple(run.manifest for run in runs)
    comparison = Comparison(
        title, first["split"], first["candidates"], manifests, rows, values.sort("row", *CELL),
        per_user.sort("row", "cohort", "user"), (),
    )  # fmt: skip
    return replace(comparison, warnings=(*differing, *_disagreements(comparison)))


def _label_runs(runs: list[FinishedRun]) -> list[str]:
    """A short name per run: its strategy (or control), and whatever else tells it from the other
    rows of its kind."""
    settings = ("strategy", "backbone", "head", "context", "loss", "online")
    kinds = [run.facts["control"] for run in runs]
    shown = {
        kind: [
            s
            for s in settings
            if len({r.facts[s] for r, k in zip(runs, kinds, strict=True) if k == kind}) > 1
        ]
        for kind in set(kinds)
    }
    values = {s: {str(run.facts[s]) for run in runs} for s in (*settings, "control")}
    labels = []
    for run, kind in zip(runs, kinds, strict=True):
        first = "strategy" if kind == "none" else "control"
        named = dict.fromkeys([first, *shown[kind]])
        labels.append(" · ".join(_shortest(str(run.facts[s]), values[s]) for s in named))
    return _told_apart(labels, runs)


def _shortest(value: str, values: set[str]) -> str:
    """``lora`` for "lora rank=8 alpha=16" if no other value begins with that word."""
    word = value.partition(" ")[0]
    return word if sum(other.partition(" ")[0] == word for other in values) == 1 else value


def _told_apart(labels: list[str], runs: list[FinishedRun]) -> list[str]:
    """Runs that look the same but are not (another learning rate, say) must not pass for two seeds
    of one: their labels say in which keys their configurations differ."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for label, run in zip(labels, runs, strict=True):
        recipes = groups.setdefault((label, run.facts["control"]), [])
        if run.manifest.recipe not in recipes:
            recipes.append(run.manifest.recipe)
    named = []
    for label, run in zip(labels, runs, strict=True):
        recipes, mine = groups[label, run.facts["control"]], run.manifest.recipe
        keys = sorted({key for recipe in recipes for key in recipe})
        differing = [
            key for key in keys if any(recipe.get(key) != mine.get(key) for recipe in recipes)
        ]
        shown = [f"{key.rpartition('.')[2]}={mine.get(key)}" for key in differing[:MOST_KEYS]]
        if len(differing) > MOST_KEYS:
            shown.append(f"recipe {recipes.index(mine) + 1} of {len(recipes)}")
        named.append(" · ".join([label, *shown]))
    return named


def _named(
    run: FinishedRun, label: str, frame: pl.DataFrame, several_backbones: bool
) -> pl.DataFrame:
    """``frame`` with ``kind, label, seed, folder`` of every row."""
    is_model = pl.col("scorer") == MODEL
    zero_shot = f"zero_shot · {run.facts['backbone']}" if several_backbones else "zero_shot"
    baseline = pl.when(pl.col("scorer") == "zero_shot").then(pl.lit(zero_shot)).otherwise("scorer")
    kind = _kind(run)
    if kind == "control":
        frame = frame.filter(~pl.col("scorer").is_in(TEXT_BASELINES))
    return frame.with_columns(
        pl.when(is_model).then(pl.lit(kind)).otherwise(pl.lit("baseline")).alias("kind"),
        pl.when(is_model).then(pl.lit(label)).otherwise(baseline).alias("label"),
        pl.lit(run.facts["seed"], pl.Int64).alias("seed"),
        pl.lit(run.facts["run"]).alias("folder"),
        pl.col("value").cast(pl.Float64).fill_nan(None),
    )


def _without_repeats(frame: pl.DataFrame, cell: tuple[str, ...]) -> tuple[pl.DataFrame, list[str]]:
    """Each baseline once per seed, under one schedule, and a warning for each whose copies
    differ."""
    order = {name: i for i, name in enumerate(SCHEDULES)}
    rank = pl.col("schedule").replace_strict(order, default=len(order), return_dtype=pl.Int64)
    baselines = frame.filter(kind="baseline").filter(rank == rank.min().over("label"))
    groups = baselines.group_by("label", "schedule", "seed", *cell, maintain_order=True)
    spread = groups.agg(
        (pl.col("value").max() - pl.col("value").min()).alias("spread"), pl.col("folder").unique()
    )
    differing = spread.filter(pl.col("spread") > TOLERANCE).group_by("label", maintain_order=True)
    warnings = [
        f"baseline `{label}` differs by up to {spread:.2g} between runs of one seed "
        f"({', '.join(sorted(folders))}): "
        "they read other histories or cut texts otherwise, or did not answer the same queries; the "
        "first is shown"
        for label, spread, folders in differing.agg(
            pl.col("spread").max(), pl.col("folder").explode().unique()
        ).iter_rows()
    ]
    once = baselines.unique(["label", "schedule", "seed", *cell], keep="first", maintain_order=True)
    return pl.concat([frame.filter(pl.col("kind") != "baseline"), once]), warnings


def _join(frame: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    return frame.join(index, on=["kind", "label", "schedule"], how="inner")


def _order_rows(
    results: pl.DataFrame, runs: list[FinishedRun], labels: list[str]
) -> tuple[Row, ...]:
    found = results.group_by("kind", "label", "schedule").agg(pl.col("seed").n_unique()).rows()
    rows = []
    for kind, label, schedule, seeds in found:
        behind = [
            run
            for run, its in zip(runs, labels, strict=True)
            if kind == _kind(run) and its == label
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
        rows.append(Row(kind, label, schedule, seeds, tuple(run.manifest for run in behind), newer))
    return tuple(sorted(rows, key=_place))


def _kind(run: FinishedRun) -> str:
    return "strategy" if run.facts["control"] == "none" else "control"


def _place(row: Row) -> tuple[Any, ...]:
    """Strategies, controls, baselines; inside each the order of the protocol; then the schedule."""
    orders = names(Strategy), MANDATORY_CONTROLS, MANDATORY_BASELINES
    known = dict(zip(KINDS, orders, strict=True))[row.kind]
    first = row.label.split(" · ")[0]
    at = known.index(first) if first in known else len(known)
    when = SCHEDULES.index(row.schedule) if row.schedule in SCHEDULES else 1
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
