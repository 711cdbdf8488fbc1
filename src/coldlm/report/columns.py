"""The headline table: a row per scorer, and the columns that somebody chose or that stand there by
default."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from coldlm.core.errors import ConfigError
from coldlm.core.spelling import did_you_mean
from coldlm.report.asked import Asked
from coldlm.report.measure import COST, Headline, Measure, quality
from coldlm.report.rows import Comparison, FailedRow
from coldlm.report.statistics import Estimate
from coldlm.report.table import (
    DOES_NOT_APPLY,
    NOT_MEASURABLE,
    Table,
    bracketed,
    metric,
    name,
    probability,
    quantity,
)
from coldlm.report.target import Target

SCORER: Final = "scorer"
ASCENDING: Final = ":asc"
COHORT_WORDS: Final = {"cold_user_any": "any cold user", "cold_item_any": "any cold item"}

Cells = tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """One thing to say of each row, in one cell or a few. ``heads``: over its cells. ``cells``, ``value``:
    of a row number and what was measured of it; rows are sorted by ``value``. ``rank``: where room is
    short, those of high rank are left out first."""

    heads: Cells
    cells: Callable[[int, Measure], Cells]
    value: Callable[[int, Measure], float | None]
    rank: int


def quality_table(comparison: Comparison, headline: Headline) -> Table:
    """Return the headline table as it was asked for; by default its last columns are the distance to the
    best trivial row, its interval, and its p over users and seeds and over seeds alone, both after Holm. A
    value of too few users or events stands in brackets. Rows that failed say so in place of their
    headline."""
    there, asked = columns(comparison, headline), headline.asked
    chosen = {key: there[key] for key in asked.columns or _default(headline) if key in there}
    body, kinds = list[Cells](), list[str]()
    bold = set[tuple[int, int]]()
    for i in _order(comparison, headline, there):
        m, cells = headline.measures[i], [name(comparison.rows[i], comparison)]
        for key, column in chosen.items():
            if m.is_bold and key in (comparison.target.key, "vs_trivial"):
                bold.add((len(body), len(cells)))
            cells += column.cells(i, m)
        body.append(tuple(cells))
        kinds.append(m.row.kind)
    for failed in comparison.lost:
        body.append(
            (f"{failed.name} {comparison.mark}".rstrip(), *_failed(failed, chosen, comparison))
        )
        kinds.append(failed.kind)
    header, groups = [SCORER], list[tuple[int, tuple[int, ...]]]()
    for column in chosen.values():
        at = tuple(range(len(header), len(header) + len(column.heads)))
        groups.append((0 if asked.columns else column.rank, at))
        header += column.heads
    order = tuple(at for _, at in sorted(groups, key=lambda group: group[0]))
    return Table("Quality", tuple(header), tuple(body), tuple(kinds), frozenset(bold), order)


def best_rows(table: Table, comparison: Comparison, headline: Headline, most: int) -> Table:
    """Return the first ``most`` rows of a headline table, those of the highest headline where no order was
    asked for; the best trivial row, and rows that failed, which are ``lost``, stay in any case."""
    n = len(headline.measures)
    order = list(range(n))
    if not headline.asked.sort:
        order = sorted(order, key=lambda i: _missing_last(headline.measures[i].value, True))
    numbers = _order(comparison, headline, columns(comparison, headline))
    kept = list(order[:most])
    if headline.best_trivial is not None:
        best = numbers.index(comparison.rows.index(headline.best_trivial))
        kept += [best] * (best not in kept)
    kept += range(n, len(table.body))
    return table.rows(kept)


def refuse_unknown(asked: Asked, parts: Sequence[tuple[Comparison, Headline]]) -> None:
    """Look up the columns and the order that are asked for.

    Raises:
        ConfigError: a column that no comparison has; it names all such and what there is.
    """
    there = {key: None for comparison, headline in parts for key in columns(comparison, headline)}
    column = asked.sort.removesuffix(ASCENDING)
    given = [("--columns", each) for each in asked.columns]
    given += [("--sort", column)] * bool(asked.sort)
    simple = ", ".join(key for key in there if ":" not in key)
    problems = [
        f"{option} {each}: no such column{did_you_mean(each, there, begin='; ')}; there are {simple}, "
        "and COHORT:METRIC"
        for option, each in given
        if each not in there and not (option == "--sort" and each == SCORER)
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def columns(comparison: Comparison, headline: Headline) -> dict[str, Column]:
    """Return every column that there is, by the name that ``--columns`` and ``--sort`` know it by."""
    target = comparison.target
    found = {
        "seeds": Column(("seeds",), lambda i, m: (_seeds(comparison, m),), lambda i, m: m.row.seeds, 4),
        target.key: _metric(comparison, target, "all", 0),
        "interval": Column(
            ("95 % interval",), lambda i, m: (_own_interval(comparison, i, m),), lambda i, m: m.headline.low, 1
        ),
        "sd": Column(
            ("sd over seeds",),
            lambda i, m: (metric(m.headline.sd_seeds) if math.isfinite(m.headline.sd_seeds) else DOES_NOT_APPLY,),
            lambda i, m: m.headline.sd_seeds,
            13,
        ),
    }  # fmt: skip
    ranks = {
        "warm_warm": 11,
        "cold_user_any": 7,
        "cold_item_any": 5,
        "recall@10": 8,
        "mrr": 9,
        "auc/user": 12,
    }
    for key, where in quality(target).items():
        if "cohort" in where:
            found[where["cohort"]] = _metric(
                comparison, target, where["cohort"], ranks[where["cohort"]]
            )
        elif "metric" in where:
            its = Target(where["metric"], where["k"])
            found[key] = _metric(comparison, its, "all", ranks.get(key, 8))
    micro = f"{target.key}/micro"
    found["micro"] = Column(
        (f"micro {target.words}",),
        lambda i, m: (bracketed(m.quality[micro], comparison.is_small(i, "all")),),
        lambda i, m: m.quality[micro],
        10,
    )
    found["vs_trivial"] = Column(
        ("vs best trivial", "95 % interval"),
        lambda i, m: _vs_trivial(headline, m),
        lambda i, m: m.vs_trivial.mean if m.vs_trivial else None,
        3,
    )
    found["p"] = Column(
        ("p", "p over seeds"),
        lambda i, m: (DOES_NOT_APPLY,) * 2 if m.p_holm is None or m.p_seeds is None
        else (probability(m.p_holm), probability(m.p_seeds)),
        lambda i, m: m.p_holm,
        6,
    )  # fmt: skip
    if headline.asked.against:
        found["against"] = Column(
            (f"vs {headline.asked.against}", "95 % interval", "p"),
            lambda i, m: _against(m),
            lambda i, m: m.against.d.mean if m.against and m.against.d else None,
            2,
        )
    return found | {key: it for key, it in _further(comparison).items() if key not in found}


def _further(comparison: Comparison) -> dict[str, Column]:
    """Columns that stand in no table by default: other cohorts and metrics, and what rows cost."""
    target = comparison.target
    whole = comparison.values.filter(window=-1, bucket="all", average="macro").filter(
        pl.col("value").is_not_null()
    )
    targets = sorted(Target(*key) for key in whole.select("metric", "k").unique().rows())
    cohorts = whole["cohort"].unique().sort().to_list()
    found = {
        cohort: _metric(comparison, target, cohort, 8) for cohort in cohorts if cohort != "all"
    }
    found |= {it.key: _metric(comparison, it, "all", 8) for it in targets}
    found |= {
        f"{cohort}:{it.key}": _metric(comparison, it, cohort, 8)
        for cohort in cohorts
        for it in targets
    }
    for cost in COST:
        found[cost] = Column(
            (cost.replace("_", " "),),
            lambda i, m, cost=cost: (quantity(m.cost[cost]),),  # type: ignore[misc]
            lambda i, m, cost=cost: m.cost[cost],  # type: ignore[misc]
            8,
        )
    return found


def _metric(comparison: Comparison, target: Target, cohort: str, rank: int) -> Column:
    """One metric in one cohort, macro over users."""
    where: dict[str, Any] = {"cohort": cohort, "metric": target.metric, "k": target.k}
    words = COHORT_WORDS.get(cohort, cohort.replace("_", " "))
    own = target == comparison.target
    head = target.words if cohort == "all" else words if own else f"{words} {target.words}"
    return Column(
        (head,),
        lambda i, m: (bracketed(comparison.value(i, **where), comparison.is_small(i, cohort)),),
        lambda i, m: comparison.value(i, **where),
        rank,
    )


def _default(headline: Headline) -> list[str]:
    key = next(iter(headline.measures[0].quality))
    others = [its.removeprefix(f"{key}/") for its in list(headline.measures[0].quality)[1:]]
    against = ["against"] * bool(headline.asked.against)
    return ["seeds", key, "interval", "sd", *others, "vs_trivial", *against, "p"]


def _order(comparison: Comparison, headline: Headline, there: dict[str, Column]) -> list[int]:
    """Numbers of the rows in the order of the table; what has no value stays last."""
    numbers, sort = list(range(len(headline.measures))), headline.asked.sort
    ascending, key = sort.endswith(ASCENDING), sort.removesuffix(ASCENDING)
    if key == SCORER:
        return sorted(numbers, key=lambda i: comparison.rows[i].name, reverse=not ascending)
    if key not in there:  # nothing asked, or not of this comparison
        return numbers
    value = there[key].value
    return sorted(
        numbers, key=lambda i: _missing_last(value(i, headline.measures[i]), not ascending)
    )


def _missing_last(value: float | None, descending: bool) -> tuple[bool, float]:
    if value is None or not math.isfinite(value):
        return True, 0.0
    return False, -value if descending else value


def _seeds(comparison: Comparison, m: Measure) -> str:
    """How many there are, and how many are missing."""
    failed = comparison.lacks(m.row)
    return f"{m.row.seeds}, {len(failed.ends)} {failed.status}" if failed else str(m.row.seeds)


def _failed(failed: FailedRow, chosen: dict[str, Column], comparison: Comparison) -> list[str]:
    """Cells of a row without a run."""
    said = {"seeds": f"0, {len(failed.ends)} {failed.status}", comparison.target.key: failed.status}
    first = next(iter(chosen), "")
    return [
        cell
        for key, column in chosen.items()
        for cell in (
            said.get(key, failed.status if key == first else DOES_NOT_APPLY),
            *(DOES_NOT_APPLY,) * (len(column.heads) - 1),
        )
    ]


def _own_interval(comparison: Comparison, i: int, m: Measure) -> str:
    own = m.headline
    if not math.isfinite(own.low) or comparison.is_small(i, "all"):
        return NOT_MEASURABLE
    return f"[{metric(own.low)}, {metric(own.high)}]"


def _vs_trivial(headline: Headline, m: Measure) -> Cells:
    if m.row == headline.best_trivial:
        return "best trivial", DOES_NOT_APPLY
    return (
        (metric(m.vs_trivial.mean, True), _interval(m.vs_trivial))
        if m.vs_trivial
        else (DOES_NOT_APPLY,) * 2
    )


def _against(m: Measure) -> Cells:
    if m.against is None:
        return (DOES_NOT_APPLY,) * 3
    if m.against.is_reference:
        return "reference", *(DOES_NOT_APPLY,) * 2
    if m.against.d is None:
        return (NOT_MEASURABLE, *(DOES_NOT_APPLY,) * 2)
    return metric(m.against.d.mean, True), _interval(m.against.d), probability(m.against.p_holm)


def _interval(d: Estimate) -> str:
    return f"[{metric(d.low, True)}, {metric(d.high, True)}]"
