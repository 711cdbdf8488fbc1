"""What item texts are worth to each strategy: its row minus the same training on texts permuted
among the items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from coldlm.core.columns import PERMUTED
from coldlm.report.rows import Comparison, Row
from coldlm.report.statistics import Estimate, holm
from coldlm.report.table import DOES_NOT_APPLY, Table, metric, name, probability

ASKED: Final = ("all", "cold_item_any")
"""Cohorts in which it is measured."""

SET_BY_CONTROL: Final = "control.name"
"""The key in which a run and its control differ."""


@dataclass(frozen=True)
class TextWorth:
    """``row``: of the strategy, ``control``: of its own permuted texts, numbers in the comparison's
    rows. ``worth``: by cohort of ``ASKED``, the difference, paired by user and seed, but in cohorts that
    are too small; ``p_holm``: its p after Holm over all of a comparison."""

    row: int
    control: int
    worth: dict[str, Estimate]
    p_holm: dict[str, float]

    def line(self) -> dict[str, Any]:
        """Return a flat record with every digit, by name."""
        return {
            f"vs_permuted{'' if cohort == 'all' else f'/{cohort}'}/{key}": value
            for cohort, d in self.worth.items()
            for key, value in {
                "mean": d.mean,
                "low": d.low,
                "high": d.high,
                "p_holm": self.p_holm[cohort],
            }.items()
        }


def measure_texts(comparison: Comparison) -> tuple[TextWorth, ...]:
    """Return every strategy that has a control of its own: equal in every key but those that the
    control sets, and under the same schedule."""
    found = []
    for i, row in enumerate(comparison.rows):
        if row.kind != "strategy" or row.schedule == "static":
            continue
        if (j := own_control(comparison, row)) is not None:
            worth = {
                cohort: d
                for cohort in ASKED
                if (d := comparison.difference(i, j, cohort)) is not None
            }
            found.append((i, j, worth))
    adjusted = iter(holm([d.p for _, _, worth in found for d in worth.values()]))
    return tuple(
        TextWorth(i, j, worth, {cohort: next(adjusted) for cohort in worth})
        for i, j, worth in found
    )


def texts_table(comparison: Comparison, found: tuple[TextWorth, ...]) -> Table:
    """Return one line per strategy with a control of its own."""
    header = ["strategy"]
    for words in ("", "any cold item: "):
        header += [
            f"{words}{comparison.target.words}",
            "on permuted texts",
            "texts are worth",
            "95 % interval",
            "p",
        ]
    body = []
    for each in found:
        cells = [name(comparison.rows[each.row], comparison)]
        for cohort in ASKED:
            cells += [metric(comparison.value(row, cohort)) for row in (each.row, each.control)]
            if cohort in each.worth:
                d = each.worth[cohort]
                interval = f"[{metric(d.low, True)}, {metric(d.high, True)}]"
                cells += [metric(d.mean, True), interval, probability(each.p_holm[cohort])]
            else:
                cells += [DOES_NOT_APPLY] * 3
        body.append(tuple(cells))
    title = (
        "What texts are worth (to the same training on permuted texts; p after Holm over this "
        "table)"
    )
    return Table(title, tuple(header), tuple(body), ("strategy",) * len(body))


def own_control(comparison: Comparison, row: Row) -> int | None:
    """Return the number of the row that is ``row`` on permuted texts, within cohorts of release where
    that was run; None where neither was."""
    found = [i for i, other in enumerate(comparison.rows) if _is_control_of(other, row)]
    kind = [comparison.rows[i].manifests[0].axes["control"] for i in found]
    return next(
        (i for name in PERMUTED for i, its in zip(found, kind, strict=True) if its == name), None
    )


def _is_control_of(control: Row, row: Row) -> bool:
    """Whether ``control`` is ``row`` on permuted texts: equal in every key but those that the control
    sets, of the same schedule, with a seed in common."""
    if (
        control.kind != "control"
        or control.schedule != row.schedule
        or not control.its_seeds & row.its_seeds
    ):
        return False
    recipes = [dict(its.manifests[0].recipe) for its in (control, row)]
    is_permuted = control.manifests[0].axes["control"] in PERMUTED
    return is_permuted and _without_control(recipes[0]) == _without_control(recipes[1])


def _without_control(recipe: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in recipe.items() if key != SET_BY_CONTROL}
