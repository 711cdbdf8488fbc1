"""Each strategy in each cohort, and in each view of the candidates, beside the best baseline and the
best control there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from coldlm.config.schedules import cheats
from coldlm.core.columns import COHORTS, QUERY_COHORTS, WARMUP_BUCKETS
from coldlm.report.rows import KINDS, Comparison
from coldlm.report.statistics import MIN_EVENTS, MIN_USERS, Estimate, holm
from coldlm.report.table import DOES_NOT_APPLY, Table, metric, name, probability
from coldlm.report.target import ON_THE_SHELF, PEERS, Target

Slice = tuple[str, str, str]
"""Values of the columns of ``rows.SLICE``."""

BY_VIEW: Final[Sequence[Slice]] = (
    ("all", "all", PEERS),
    ("cold_item_any", "all", PEERS),
    *(("all", f"item:{bucket}", PEERS) for bucket in WARMUP_BUCKETS),
    ("all", "all", ON_THE_SHELF),
)

HOW_SURE: Final = (
    f"p after Holm over this table; no interval below {MIN_USERS} users or {MIN_EVENTS} events"
)


def _columns(words: str) -> tuple[str, ...]:
    """Heads of the columns of ``_line``; ``words``: what is measured."""
    return ("events", "users", words, "best baseline", words, "best control", words, "vs better of both",
            "95 % interval", "p")  # fmt: skip


@dataclass(frozen=True)
class SliceMeasure:
    """One strategy in one slice of one comparison. ``which``: the slice. ``events``, ``users``: that
    were asked. ``value``: the macro average of ``target``.
    ``baseline``, ``control``: name and value of the best of each in this slice, None where there
    is none. ``vs``: the strategy minus the better of the two, paired by user and seed, None in a slice
    that is too small; ``p_holm``: its p after Holm over all slices and comparisons measured
    together."""

    comparison: str
    row: str
    which: Slice
    events: int
    users: int
    value: float
    target: Target
    baseline: tuple[str, float] | None
    control: tuple[str, float] | None
    vs: Estimate | None = None
    p_holm: float | None = None

    @property
    def cohort(self) -> str:
        return self.which[0]

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
            self.target.key: self.value,
            "best_baseline": baseline,
            f"best_baseline/{self.target.key}": its,
            "best_control": control,
            f"best_control/{self.target.key}": control_its,
            "vs_trivial": vs.mean if vs else None,
            "vs_trivial/low": vs.low if vs else None,
            "vs_trivial/high": vs.high if vs else None,
            "vs_trivial/p_holm": self.p_holm,
        }


def measure_slices(
    comparisons: Sequence[Comparison], slices: Sequence[Slice] | None = None
) -> tuple[SliceMeasure, ...]:
    """Return every strategy in every slice that was asked, by default every cohort, under every schedule
    but ``static``, which is a control itself. The best trivial row is chosen anew in each slice, so the distance
    flatters nobody."""
    found = [
        _measure(comparison, i, which, best)
        for comparison in comparisons
        for which in slices
        or [(cohort, "all", comparison.target.metric) for cohort in (*COHORTS, *QUERY_COHORTS)]
        for best in [{kind: _best(comparison, kind, which) for kind in KINDS[1:]}]
        for i, row in enumerate(comparison.rows)
        if row.kind == "strategy"
        and row.schedule != "static"
        and _value(comparison, i, which) is not None
    ]
    adjusted = iter(holm([m.vs.p for m in found if m.vs]))
    return tuple(replace(m, p_holm=next(adjusted)) if m.vs else m for m in found)


def cohort_table(found: Sequence[SliceMeasure]) -> Table:
    """Return one line per data set x strategy x cohort."""
    body = [(m.comparison, m.row, m.cohort.replace("_", " "), *_line(m)) for m in found]
    words = found[0].target.words if found else Target().words
    header = ("data set", "strategy", "cohort", *_columns(words))
    title = f"Strategies by cohort ({HOW_SURE})"
    return Table(title, header, tuple(body), ("strategy",) * len(body))


def new_items_table(comparison: Comparison) -> Table | None:
    """Return one line per strategy x view: among peers, for new items and for those with n events so
    far, and on the shelf; None where views were not looked at."""
    found = measure_slices([comparison], BY_VIEW)
    if not found:
        return None
    body = [(m.row, _words(m.which), *_line(m)) for m in found]
    header = ("strategy", "among", *_columns(Target().words))
    title = f"Strategies among peers and on the shelf ({HOW_SURE})"
    return Table(title, header, tuple(body), ("strategy",) * len(body))


def _words(which: Slice) -> str:
    cohort, bucket, among = which
    if among == ON_THE_SHELF:
        return "on the shelf"
    had = f", item has had {bucket.removeprefix('item:')}" if bucket != "all" else ""
    return f"peers{had}{', new items' if cohort != 'all' else ''}"


def _line(m: SliceMeasure) -> tuple[str, ...]:
    """Cells of ``_columns``."""
    bests = [part for best in (m.baseline, m.control) for part in _cells(best)]
    vs = (DOES_NOT_APPLY,) * 3
    if m.vs is not None and m.p_holm is not None:
        interval = f"[{metric(m.vs.low, True)}, {metric(m.vs.high, True)}]"
        vs = (metric(m.vs.mean, True), interval, probability(m.p_holm))
    return (f"{m.events:,}", f"{m.users:,}", metric(m.value), *bests, *vs)


def _value(comparison: Comparison, row: int, which: Slice) -> float | None:
    cohort, bucket, measured = which
    return comparison.value(row, cohort, bucket=bucket, metric=measured)


def _measure(
    comparison: Comparison, row: int, which: Slice, best: Mapping[str, tuple[int, float] | None]
) -> SliceMeasure:
    """One row in one slice. ``best``: (row, value) of each other kind."""
    cohort, bucket, measured = which
    whole = comparison.values.filter(
        row=row, window=-1, cohort=cohort, bucket=bucket, average="macro", metric=measured
    )
    rivals = {kind: rival for kind, rival in best.items() if rival is not None}
    named = {
        kind: (name(comparison.rows[i], comparison), value) for kind, (i, value) in rivals.items()
    }
    vs = None
    if rivals:
        best_of_all = max(rivals.values(), key=lambda rival: rival[1])[0]
        vs = comparison.difference(row, best_of_all, cohort, bucket=bucket, metric=measured)
    value = _value(comparison, row, which)
    assert value is not None  # measure_slices leaves out what was not asked
    return SliceMeasure(
        comparison.title,
        name(comparison.rows[row], comparison),
        which,
        int(whole["n_events"].max() or 0),  # type: ignore[arg-type]
        int(whole["n_users"].max() or 0),  # type: ignore[arg-type]
        value,
        comparison.target,
        named.get("baseline"),
        named.get("control"),
        vs,
    )


def _best(comparison: Comparison, kind: str, which: Slice) -> tuple[int, float] | None:
    """(row, value) of the best row of a kind in a slice, the first of equals; nobody is held against one
    that cheats."""
    values = [
        (i, _value(comparison, i, which))
        for i, row in enumerate(comparison.rows)
        if row.kind == kind and not cheats(row.schedule)
    ]
    known = [(i, value) for i, value in values if value is not None]
    return max(known, key=lambda pair: (pair[1], -pair[0])) if known else None


def _cells(best: tuple[str, float] | None) -> tuple[str, str]:
    return (best[0], metric(best[1])) if best else (DOES_NOT_APPLY, DOES_NOT_APPLY)
