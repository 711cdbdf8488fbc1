"""What each scorer is worth to each group of users (``dataset.groups``), and how far the best served
lies above the worst."""

from __future__ import annotations

import math
from collections.abc import Sequence

from coldlm.report.rows import Comparison
from coldlm.report.statistics import MIN_EVENTS, MIN_USERS
from coldlm.report.table import NOT_MEASURABLE, Table, bracketed, kinds, metric, name

Z = 1.96
"""Of the normal distribution, for 95 %."""


def groups_tables(comparison: Comparison) -> tuple[Table, ...]:
    """Return a table for each column by which users are told apart: the headline in each group, and the gap, the
    largest minus the smallest of those that are not too small to be judged."""
    found: dict[str, list[str]] = {}
    for cohort in comparison.values["cohort"].unique().sort():
        column, is_group, _ = cohort.partition("=")
        if is_group:
            found.setdefault(column, []).append(cohort)
    return tuple(_table(comparison, column, cohorts) for column, cohorts in found.items())


def _table(comparison: Comparison, column: str, cohorts: Sequence[str]) -> Table:
    body = tuple(
        (
            name(row, comparison),
            *(bracketed(comparison.value(i, c), comparison.is_small(i, c)) for c in cohorts),
            *_gap(comparison, i, cohorts),
        )
        for i, row in enumerate(comparison.rows)
    )
    title = (
        f"Users by {column}: {comparison.target.words}; gap of groups with {MIN_USERS} users and {MIN_EVENTS} events, "
        "whose interval knows nothing of their having been picked"
    )
    header = ("scorer", *(c.partition("=")[2] for c in cohorts), "gap", "95 % interval")
    return Table(title, header, body, kinds(comparison))


def _gap(comparison: Comparison, row: int, cohorts: Sequence[str]) -> tuple[str, str]:
    """Users of two groups are not the same, so that their errors add up."""
    large = [
        comparison.estimate(row, cohort)
        for cohort in cohorts
        if comparison.value(row, cohort) is not None and not comparison.is_small(row, cohort)
    ]
    if len(large) < 2:
        return NOT_MEASURABLE, NOT_MEASURABLE
    low, high = min(large, key=lambda e: e.mean), max(large, key=lambda e: e.mean)
    gap, half = high.mean - low.mean, Z * math.hypot(low.error, high.error)
    return metric(gap), f"[{metric(gap - half, True)}, {metric(gap + half, True)}]"
