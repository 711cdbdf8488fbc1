"""One table over all data sets: each strategy in each cohort, beside the best baseline and the best
control there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from coldlm.core.columns import COHORTS
from coldlm.report.rows import KINDS, METRIC, Comparison
from coldlm.report.statistics import MIN_EVENTS, MIN_USERS, Estimate, holm
from coldlm.report.table import DOES_NOT_APPLY, Table, metric, name, probability


@dataclass(frozen=True)
class CohortMeasure:
    """One strategy in one cohort of one comparison. ``events``, ``users``: that were asked.
    ``value``: macro nDCG@10.
    ``baseline``, ``control``: name and value of the best of each in this cohort, None where there
    is none. ``vs``: the strategy minus the better of the two, paired by user and seed, None in a cohort
    that is too small; ``p_holm``: its p after Holm over all cohorts and comparisons measured
    together."""

    comparison: str
    row: str
    cohort: str
    events: int
    users: int
    value: float
    baseline: tuple[str, float] | None
    control: tuple[str, float] | None
    vs: Estimate | None = None
    p_holm: float | None = None

    def line(self) -> dict[str, Any]:
        """Return a flat record with every digit; what does not exist is None."""
        vs = self.vs
        (baseline, its), (control, control_its) = (
            best or (None, None) for best in (self.baseline, self.control)
        )
        return {
            "comparison": self.comparison,
            "row": self.row,
            "cohort": self.cohort,
            "n_events": self.events,
            "n_users": self.users,
            "ndcg@10": self.value,
            "best_baseline": baseline,
            "best_baseline/ndcg@10": its,
            "best_control": control,
            "best_control/ndcg@10": control_its,
            "vs_trivial": vs.mean if vs else None,
            "vs_trivial/low": vs.low if vs else None,
            "vs_trivial/high": vs.high if vs else None,
            "vs_trivial/p_holm": self.p_holm,
        }


def measure_cohorts(comparisons: Sequence[Comparison]) -> tuple[CohortMeasure, ...]:
    """Return every strategy in every cohort that was asked, under every schedule but ``static``,
    which is a control itself. The best trivial row is chosen anew in each cohort, so the distance
    flatters nobody."""
    found = [
        _measure(comparison, i, cohort)
        for comparison in comparisons
        for cohort in COHORTS
        for i, row in enumerate(comparison.rows)
        if row.kind == "strategy"
        and row.schedule != "static"
        and comparison.value(i, cohort) is not None
    ]
    adjusted = iter(holm([m.vs.p for m in found if m.vs]))
    return tuple(replace(m, p_holm=next(adjusted)) if m.vs else m for m in found)


def cohort_table(found: Sequence[CohortMeasure]) -> Table:
    """Return one line per data set x strategy x cohort."""
    header = (
        "data set", "strategy", "cohort", "events", "users", "nDCG@10", "best baseline", "nDCG@10", "best control",
        "nDCG@10", "vs better of both", "95 % interval", "p",
    )  # fmt: skip
    body = []
    for m in found:
        bests = [part for best in (m.baseline, m.control) for part in _cells(best)]
        vs = (DOES_NOT_APPLY,) * 3
        if m.vs is not None and m.p_holm is not None:
            interval = f"[{metric(m.vs.low, True)}, {metric(m.vs.high, True)}]"
            vs = (metric(m.vs.mean, True), interval, probability(m.p_holm))
        counts = f"{m.events:,}", f"{m.users:,}"
        body.append(
            (m.comparison, m.row, m.cohort.replace("_", " "), *counts, metric(m.value), *bests, *vs)
        )
    title = (
        f"Strategies by cohort (p after Holm over this table; no interval below {MIN_USERS} users "
        f"or {MIN_EVENTS} events)"
    )
    return Table(title, header, tuple(body), ("strategy",) * len(body))


def _measure(comparison: Comparison, row: int, cohort: str) -> CohortMeasure:
    """One row in one cohort."""
    best = {kind: _best(comparison, kind, cohort) for kind in KINDS[1:]}
    whole = comparison.values.filter(
        row=row, window=-1, cohort=cohort, bucket="all", average="macro", metric=METRIC
    )
    rivals = {kind: rival for kind, rival in best.items() if rival is not None}
    named = {
        kind: (name(comparison.rows[i], comparison), value) for kind, (i, value) in rivals.items()
    }
    vs = None
    if rivals:
        best_of_all = max(rivals.values(), key=lambda rival: rival[1])[0]
        vs = comparison.difference(row, best_of_all, cohort)
    value = comparison.value(row, cohort)
    assert value is not None  # measure_cohorts leaves out what was not asked
    return CohortMeasure(
        comparison.title,
        name(comparison.rows[row], comparison),
        cohort,
        int(whole["n_events"].max() or 0),  # type: ignore[arg-type]
        int(whole["n_users"].max() or 0),  # type: ignore[arg-type]
        value,
        named.get("baseline"),
        named.get("control"),
        vs,
    )


def _best(comparison: Comparison, kind: str, cohort: str) -> tuple[int, float] | None:
    """(row, value) of the best row of a kind in a cohort, the first of equals."""
    values = [
        (i, comparison.value(i, cohort))
        for i, row in enumerate(comparison.rows)
        if row.kind == kind
    ]
    known = [(i, value) for i, value in values if value is not None]
    return max(known, key=lambda pair: (pair[1], -pair[0])) if known else None


def _cells(best: tuple[str, float] | None) -> tuple[str, str]:
    return (best[0], metric(best[1])) if best else (DOES_NOT_APPLY, DOES_NOT_APPLY)
