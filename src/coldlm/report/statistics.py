"""How sure a number is. Two things are chance: which users were asked, and which seeds were drawn.
Both enter every interval and every p.

A panel is [S, U]: a value, or a difference of two, for each of S seeds and each of U users.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from coldlm.core.errors import DataError
from coldlm.core.tables import Floats

LEVEL = 0.95
ALPHA = 1 - LEVEL
POWER = 0.8
"""Share of repetitions in which a difference that can be found is found."""

MIN_SEEDS = 5
"""Of fewer the spread is known too badly for a p: of differences that are none, between seeds of one
recipe on real data, 8.9 % have one below .05 with three seeds, 6.8 with four, 5.1 with five
(docs/understand/findings.md)."""

MIN_USERS, MIN_EVENTS = 20, 50
"""What fewer users or events say is shown as small, and nothing is claimed of it."""

FLIPS = 2**14
"""Patterns of signs that are tried: all of them up to 14 seeds."""


@dataclass(frozen=True)
class Estimate:
    """The mean of a panel of ``seeds`` x ``users``. ``low``, ``high``: its 95 % interval; ``error``:
    its standard error; ``findable``: the true mean that a two-sided test at 5 % finds in ``POWER`` of
    all repetitions, (t_.975 + t_.8) * error (Cohen 1988, 2.3, with Student's t). With one seed they are
    of the users alone. ``p``: two-sided, of a true mean
    of 0. ``sd_seeds``: standard deviation over seeds of the mean over users. ``p_seeds``: exact,
    over seeds alone, see ``sign_flips``. NaN where it cannot be known: ``p``, ``p_seeds`` and ``findable``
    below ``MIN_SEEDS``, ``sd_seeds`` of one seed, all of it without users."""

    mean: float
    low: float
    high: float
    error: float
    findable: float
    p: float
    sd_seeds: float
    p_seeds: float
    users: int
    seeds: int


def estimate(panel: Floats, seeds: int | None = None) -> Estimate:
    """Return the mean of a panel [S, U] and how sure it is, by the crossed model

        y_su = mu + a_s + b_u + e_su,    Var(mean) = s_a^2 / S + s_b^2 / U + s_e^2 / (S U)

    whose variance is estimated by the mean squares of seeds, users and rest, (MS_a + MS_b - MS_e) /
    (S U), not below what seeds or users alone are worth, with Satterthwaite's degrees of freedom
    (Searle, Casella and McCulloch 1992, 4.3 and 4.5; Cameron, Gelbach and Miller 2011, eq. 2.12, is
    the same sum of three). In ``tests/report/test_statistics.py`` 3 to 6 of 100 differences that are
    none have a p below .05.

    Args:
        seeds: of the rows behind it, where the panel holds their averages.

    Raises:
        DataError: a value that is not finite.
    """
    s, u = panel.shape
    if not np.isfinite(panel).all():
        raise DataError(
            f"{(~np.isfinite(panel)).sum()} of {panel.size} per-user values are not finite: run "
            "it again"
        )
    n = s if seeds is None else seeds
    if not panel.size:
        return Estimate(nan, nan, nan, nan, nan, nan, nan, nan, u, n)
    mean, means = float(panel.mean()), panel.mean(axis=1)
    error, freedom = _error(panel)
    half = _quantile((1 + LEVEL) / 2, freedom) * error
    tested = s >= MIN_SEEDS
    return Estimate(
        mean,
        mean - half,
        mean + half,
        error,
        half + _quantile(POWER, freedom) * error if tested else nan,
        _two_sided(mean, error, freedom) if tested else nan,
        float(means.std(ddof=1)) if s > 1 else nan,
        sign_flips(means) if tested else nan,
        u,
        n,
    )


def _error(panel: Floats) -> tuple[float, float]:
    """Standard error of the mean of a panel, and its degrees of freedom; NaN for one user."""
    (s, u), mean = panel.shape, panel.mean()
    if u == 1:
        return nan, nan
    rows, columns = panel.mean(axis=1) - mean, panel.mean(axis=0) - mean
    of_users = s * float(columns @ columns) / (u - 1)
    if s == 1:
        return math.sqrt(of_users / u), u - 1
    rest = panel - mean - rows[:, None] - columns
    of_seeds = u * float(rows @ rows) / (s - 1)
    of_rest = float((rest * rest).sum()) / ((s - 1) * (u - 1))
    whole = of_seeds + of_users - of_rest
    least, freedom = max((of_seeds, s - 1), (of_users, u - 1))
    if whole > least:
        parts = (of_seeds, s - 1), (of_users, u - 1), (of_rest, (s - 1) * (u - 1))
        freedom = whole**2 / sum(square**2 / of for square, of in parts)
    return math.sqrt(max(whole, least) / (s * u)), freedom


def _quantile(share: float, freedom: float) -> float:
    from scipy import special  # the distribution of scipy.stats asks it, too, a millisecond later

    return nan if math.isnan(freedom) else float(special.stdtrit(freedom, share))


def _two_sided(mean: float, error: float, freedom: float) -> float:
    from scipy import special

    if not error > 0:  # all alike, or one user
        return nan if math.isnan(error) else float(mean == 0)
    return float(2 * special.stdtr(freedom, -abs(mean) / error))


def sign_flips(means: Floats) -> float:
    """Return the two-sided p of means [S] by seed that might as well have had the other sign
    (Fisher 1935, 21): exact, at least 2^(1-S), and nothing is assumed of how they spread."""
    from scipy import stats

    found = stats.permutation_test(
        (means,), np.mean, permutation_type="samples", vectorized=True, n_resamples=FLIPS, rng=0
    )
    return float(found.pvalue)


def seeds_needed(comparisons: int) -> int:
    """Return the seeds from which sign flips can reach ``ALPHA`` after Holm in a table of so many
    comparisons: 2^(1-S) <= ALPHA / comparisons; six for one.

    >>> seeds_needed(1), seeds_needed(10)
    (6, 9)
    """
    return math.ceil(1 + math.log2(comparisons / ALPHA))


def is_small(users: int, events: int) -> bool:
    """Return whether so few users or events are behind a value that nothing is claimed of it."""
    return users < MIN_USERS or events < MIN_EVENTS


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of one table, in the order given; those that are NaN stay so, and
    count for nothing.

    >>> holm([0.01, 0.04, 0.03])  # 0.01 x 3, then 0.03 x 2, then max(0.04 x 1, 0.06)
    [0.03, 0.06, 0.06]
    """
    known = sorted((i for i in range(len(p)) if not math.isnan(p[i])), key=lambda i: p[i])
    adjusted = [nan] * len(p)
    largest = 0.0
    for rank, i in enumerate(known):
        largest = max(largest, min(1.0, p[i] * (len(known) - rank)))
        adjusted[i] = largest
    return adjusted
