"""The same runs over several origins: streams that follow each other, each with all before it as its
past. What holds at one of them alone is luck of the date."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from coldlm.config.schedules import cheats
from coldlm.report.rows import Comparison
from coldlm.report.statistics import LEVEL
from coldlm.report.table import DOES_NOT_APPLY, Table, metric, name

ORIGIN = "split.origin"


def origin_tables(comparisons: Sequence[Comparison]) -> tuple[Table, ...]:
    """Return one table per data set and configuration that was run at two origins and more."""
    groups: dict[str, dict[int, Comparison]] = {}
    for comparison in comparisons:
        recipe = comparison.manifests[0].recipe
        if (recipe.get("split.origins") or 1) > 1:
            data = comparison.manifests[0].data
            split = {
                key: value
                for key, value in recipe.items()
                if key.startswith("split.") and key != ORIGIN
            }
            same = json.dumps(
                [data.name, data.hashes, comparison.candidates, split], sort_keys=True, default=str
            )
            groups.setdefault(same, {})[int(recipe[ORIGIN])] = comparison
    return tuple(_table(dict(sorted(group.items()))) for group in groups.values() if len(group) > 1)


def _table(group: dict[int, Comparison]) -> Table:
    """Rows that all origins have: the headline at each, the mean, its standard deviation; and of strategies
    the mean distance to the row of baselines and controls with the best mean, with an interval of
    Student's t over origins."""
    first = next(iter(group.values()))
    values = {
        row.name: found
        for row in first.rows
        if (found := [_value(each, row.name) for each in group.values()]) and None not in found
    }
    rows = [row for row in first.rows if row.name in values]
    means = {name_: float(np.mean(its)) for name_, its in values.items()}  # type: ignore[arg-type]
    trivial = [row.name for row in rows if row.kind != "strategy" and not cheats(row.schedule)]
    best = max(trivial, key=lambda it: means[it]) if trivial else None
    body = []
    for row in rows:
        its = np.array(values[row.name], np.float64)
        distance = DOES_NOT_APPLY, DOES_NOT_APPLY
        if row.kind == "strategy" and best is not None:
            distance = _distance(its - np.array(values[best], np.float64))
        cells = metric(means[row.name]), metric(float(its.std(ddof=1)))
        body.append((name(row, first), *map(metric, its.tolist()), *cells, *distance))
    events = {
        origin: max(each.values.filter(cohort="all", bucket="all", window=-1)["n_events"].to_list())
        for origin, each in group.items()
    }
    header = (
        "scorer",
        *(f"origin {origin} ({n:,})" for origin, n in events.items()),
        "mean",
        "sd over origins",
        f"vs {best}",
        f"{LEVEL:.0%} over origins",
    )
    title = (
        f"Origins of {first.manifests[0].data.name}: {first.target.words} of {len(group)} streams that follow each "
        "other (in brackets: events that were ranked)"
    )
    return Table(title, header, tuple(body), tuple(row.kind for row in rows))


def _value(comparison: Comparison, row: str) -> float | None:
    for i, each in enumerate(comparison.rows):
        if each.name == row:
            return comparison.value(i)
    return None


def _distance(differences: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[str, str]:
    """Mean, and interval over origins."""
    from scipy import stats

    n, mean = len(differences), float(differences.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * differences.std(ddof=1) / n**0.5)
    return metric(mean, True), f"[{metric(mean - half, True)}, {metric(mean + half, True)}]"
