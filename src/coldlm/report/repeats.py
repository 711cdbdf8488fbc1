"""What runs say of scorers, each thing once: every run repeats the baselines, and runs of all
schedules the weights that stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from coldlm.config.schedules import SCHEDULES
from coldlm.core.columns import MODEL
from coldlm.report.found import AnyRun, FinishedRun
from coldlm.report.labels import Labels
from coldlm.report.rows import WITHOUT_UPDATES

ORDER: Final = ("history", *(schedule.name for schedule in SCHEDULES), "static")
"""Of schedules."""

TEXT_BASELINES: Final = ("tfidf", "zero_shot")
"""Read item texts, so a control run, which may have permuted them, is not where they are taken
from."""

TOLERANCE: Final = 1e-9


class Key(NamedTuple):
    """The row of a table, and the seed, that something is said of."""

    kind: str
    label: str
    schedule: str
    seed: int


@dataclass(frozen=True)
class Said:
    """What the run in ``folder`` says of one scorer under one schedule."""

    key: Key
    folder: str
    table: pl.DataFrame


def kind_of(run: AnyRun) -> str:
    """Return whether a run's own rows are those of a strategy or of a control."""
    return "strategy" if run.facts["control"] == "none" else "control"


def when(schedule: str) -> int:
    """Return the place of a schedule among all."""
    return ORDER.index(schedule) if schedule in ORDER else len(ORDER)


def say(
    run: FinishedRun,
    labels: Labels,
    table: pl.DataFrame,
    columns: Sequence[str],
    several_backbones: bool,
) -> Iterator[Said]:
    """Yield ``columns`` and ``value`` of a run's ``table``, apart by scorer and schedule."""
    kind = kind_of(run)
    zero_shot = f"zero_shot · {run.facts['backbone']}" if several_backbones else "zero_shot"
    parts = table.partition_by("scorer", "schedule", maintain_order=True, as_dict=True)
    for (scorer, schedule), its in parts.items():
        if kind == "control" and scorer in TEXT_BASELINES:
            continue
        if scorer == MODEL:
            row = kind, labels.of(schedule)
        else:
            row = "baseline", zero_shot if scorer == "zero_shot" else scorer
        value = pl.col("value").cast(pl.Float64).fill_nan(None)
        yield Said(
            Key(*row, schedule, run.facts["seed"]), run.facts["run"], its.select(*columns, value)
        )


def once(said: Sequence[Said], cell: Sequence[str]) -> tuple[dict[Key, pl.DataFrame], list[str]]:
    """Return what is said of each row and seed, and a warning for each whose runs do not agree.
    Baselines are taken under one schedule; of what repeats itself the first is taken, of other runs of
    one row and seed the mean over them. ``cell``: the columns that name one value."""
    groups: dict[Key, list[Said]] = {}
    first: dict[str, int] = {}
    for each in said:
        groups.setdefault(each.key, []).append(each)
        if each.key.kind == "baseline":
            label, at = each.key.label, when(each.key.schedule)
            first[label] = min(at, first.get(label, at))
    kept = {}
    differing: dict[tuple[str, str], list[tuple[float, set[str]]]] = {}
    for key, group in groups.items():
        is_baseline = key.kind == "baseline"
        if is_baseline and when(key.schedule) != first[key.label]:
            continue
        tables = [each.table for each in group]
        if len(group) == 1 or all(tables[0].equals(table) for table in tables[1:]):
            kept[key] = tables[0]
        elif is_baseline or key.schedule in WITHOUT_UPDATES:
            together = pl.concat(tables, how="vertical_relaxed")
            kept[key] = together.unique(cell, keep="first", maintain_order=True)
            if found := _differing(group, cell):
                differing.setdefault((key.kind, key.label), []).append(found)
        else:
            together = pl.concat(tables, how="vertical_relaxed")
            mean = pl.col("value").mean(), pl.exclude(*cell, "value").max()
            kept[key] = (
                together.group_by(cell, maintain_order=True).agg(*mean).select(together.columns)
            )
    return kept, [_warning(kind, label, found) for (kind, label), found in differing.items()]


def _differing(group: Sequence[Said], cell: Sequence[str]) -> tuple[float, set[str]] | None:
    """The widest spread of one value between runs, and the runs where values differ; None where they
    agree."""
    together = pl.concat(
        [each.table.with_columns(folder=pl.lit(each.folder)) for each in group],
        how="vertical_relaxed",
    )
    spread = together.group_by(cell).agg(
        (pl.col("value").max() - pl.col("value").min()).alias("spread"), pl.col("folder").unique()
    )
    apart = spread.filter(pl.col("spread") > TOLERANCE)
    if apart.is_empty():
        return None
    return float(apart["spread"].to_numpy().max()), set(apart["folder"].explode())


def _warning(kind: str, label: str, found: Sequence[tuple[float, set[str]]]) -> str:
    reason = (
        "they read other histories or cut texts otherwise, or did not answer the same queries"
        if kind == "baseline"
        else "they are of other machines, thread counts or versions"
    )
    spread = max(spread for spread, _ in found)
    folders = sorted(set().union(*(folders for _, folders in found)))
    return (
        f"{kind} `{label}` differs by up to {spread:.2g} between runs of one seed "
        f"({', '.join(folders)}): {reason}; the first is shown"
    )
