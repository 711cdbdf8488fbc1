"""Every row minus one that somebody names, on the same users and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

from coldlm.core.errors import ConfigError
from coldlm.core.spelling import did_you_mean
from coldlm.report.rows import Comparison, Row
from coldlm.report.statistics import Estimate, holm


@dataclass(frozen=True)
class Versus:
    """One row against ``reference``, the number of another. ``d``: the difference, paired by user and
    seed, None where too few users or events are behind it, and of a reference itself. ``p_holm``: its p
    after Holm over all rows."""

    reference: int
    d: Estimate | None
    p_holm: float
    is_reference: bool = False


def measure_against(comparison: Comparison, named: str) -> dict[int, Versus]:
    """Return every row against the one that is ``named``: as in the table (``lora, per_window``), without
    its schedule, or by its first word. Of several of that name, against the one of the row's own
    schedule, then of what else stands in its label (the backbone, say), then against the best. Nothing
    where there is none of that name."""
    found = [i for i, row in enumerate(comparison.rows) if named in _names(row)]
    if not found:
        return {}
    chosen = {
        i: i if i in found else max(found, key=lambda j: _likeness(comparison, i, j))
        for i in range(len(comparison.rows))
    }
    differences = {
        i: d for i, j in chosen.items() if i != j and (d := comparison.difference(i, j)) is not None
    }
    adjusted = dict(zip(differences, holm([d.p for d in differences.values()]), strict=True))
    return {
        i: Versus(j, differences.get(i), adjusted.get(i, nan), i == j) for i, j in chosen.items()
    }


def refuse_unknown_row(named: str, comparisons: Sequence[Comparison]) -> None:
    """Look up the row that is ``named``.

    Raises:
        ConfigError: no comparison has it.
    """
    rows = [row for comparison in comparisons for row in comparison.rows]
    if any(named in _names(row) for row in rows):
        return
    there = list(dict.fromkeys(row.label for row in rows))
    hint = did_you_mean(
        named, dict.fromkeys(word for row in rows for word in _names(row)), begin="; "
    )
    raise ConfigError(f"--against {named}: no such row{hint}; there are {', '.join(there)}")


def _names(row: Row) -> tuple[str, ...]:
    """What somebody may call it."""
    return row.name, row.label, row.label.partition(" · ")[0]


def _likeness(comparison: Comparison, i: int, j: int) -> tuple[bool, bool, float]:
    row, other = comparison.rows[i], comparison.rows[j]
    rests = row.label.partition(" · ")[2] == other.label.partition(" · ")[2]
    return row.schedule == other.schedule, rests, comparison.value(j) or 0.0
