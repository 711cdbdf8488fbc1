"""Which scorers are ahead over several data sets: by their ranks, since values of one set and another do
not compare (Demšar 2006, "Statistical comparisons of classifiers over multiple data sets")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from coldlm.config.schedules import cheats
from coldlm.core.tables import Floats
from coldlm.report.rows import Comparison, Row
from coldlm.report.statistics import ALPHA
from coldlm.report.table import Table, name, probability

MIN_SETS: Final = 3
"""Of two data sets ranks say nothing that their tables do not."""


def rank_tables(comparisons: Sequence[Comparison]) -> tuple[Table, ...]:
    """Return the mean ranks by the headline of all scorers that every data set has, best first; nothing of
    fewer than ``MIN_SETS`` data sets, or where they share fewer than two scorers. A data set with
    several comparisons (origins, candidates) counts once, by its mean ranks."""
    sets: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        sets.setdefault(comparison.manifests[0].data.name, []).append(comparison)
    shared = _shared(comparisons)
    if len(sets) < MIN_SETS or len(shared) < 2:
        return ()
    ranks = np.array(
        [np.mean([_ranks(each, shared) for each in group], axis=0) for group in sets.values()]
    )
    return (_table(list(sets), comparisons[0], shared, ranks),)


def critical_difference(scorers: int, sets: int) -> float:
    """Return the distance of two mean ranks that chance reaches in 5 % of all tables (Nemenyi; Demšar
    2006, section 3.2.2): q / sqrt(2) * sqrt(k (k + 1) / (6 N)), q of the studentized range.

    >>> round(critical_difference(4, 14), 2)  # 2.569 * sqrt(20 / 84) in section 3.2.3
    1.25
    """
    from scipy import stats

    q = stats.studentized_range.ppf(1 - ALPHA, scorers, np.inf)
    return float(q / 2**0.5 * (scorers * (scorers + 1) / (6 * sets)) ** 0.5)


def _shared(comparisons: Sequence[Comparison]) -> list[str]:
    """Names of the rows that were measured everywhere, in the order of the first comparison."""
    measured = [
        {row.name for i, row in enumerate(each.rows) if each.value(i) is not None}
        for each in comparisons
    ]
    return [
        row.name
        for row in (comparisons[0].rows if comparisons else ())
        if not cheats(row.schedule) and all(row.name in names for names in measured)
    ]


def _ranks(comparison: Comparison, shared: Sequence[str]) -> Floats:
    """[S] from 1, the best; of equals their mean."""
    from scipy.stats import rankdata

    values = {row.name: comparison.value(i) for i, row in enumerate(comparison.rows)}
    ranks: Floats = rankdata([-(values[each] or 0.0) for each in shared])
    return ranks


def _table(sets: list[str], first: Comparison, shared: list[str], ranks: Floats) -> Table:
    """``ranks``: [data sets, scorers]."""
    from scipy import stats

    n, k = ranks.shape
    means, difference = ranks.mean(axis=0), critical_difference(k, n)
    rows: dict[str, Row] = {row.name: row for row in first.rows}
    order = np.argsort(means, kind="stable")
    body = []
    for i in order:
        apart = means[i] - means[order[0]] > difference
        cells = (f"{means[i]:.2f}", *(f"{rank:g}" for rank in ranks[:, i]))
        body.append((name(rows[shared[i]], first), *cells, "yes" if apart else "no"))
    # of two scorers Friedman's test is the sign test, which scipy leaves to others
    chance = stats.friedmanchisquare(*ranks.T).pvalue if k > 2 else np.nan
    said = f"Friedman p {probability(float(chance))}, " if np.isfinite(chance) else ""
    title = f"Mean ranks over {n} data sets ({said}critical difference {difference:.2f})"
    header = ("scorer", "mean rank", *sets, "apart from the first")
    return Table(title, header, tuple(body), tuple(rows[shared[i]].kind for i in order))
