"""How sure a number is: bootstrap over users, paired differences, Wilcoxon, Holm. The unit is the
user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, nan

import numpy as np

from coldlm.core.errors import DataError
from coldlm.core.seeding import generator
from coldlm.core.tables import Floats

DRAWS = 10_000
LEVEL = 0.95
SMALLEST = 0.01
"""Adjusted p that a table of any length can show."""

CHUNK = 4_000_000
"""Numbers resampled at once: bounds the memory of a bootstrap at about 64 MB, whatever the number
of users."""


@dataclass(frozen=True)
class Difference:
    """Paired difference of two means over the same users: ``mean``, its 95 % interval (``low``,
    ``high``), the two-sided bootstrap ``p``, and the number of ``users``."""

    mean: float
    low: float
    high: float
    p: float
    users: int


def interval(values: Floats, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Return ``intervals`` of one row."""
    return intervals([values], draws, seed)[0]


def intervals(
    rows: Sequence[Floats], draws: int = DRAWS, seed: int = 0
) -> list[tuple[float, float]]:
    """95 % percentile-bootstrap interval of the mean of each row, [U] one value per user; (nan,
    nan) without users.

    Raises:
        DataError: a value that is not finite.
    """
    return [
        _percentiles(means) if len(means) else (nan, nan) for means in _resampled(rows, draws, seed)
    ]


def difference(left: Floats, right: Floats, draws: int = DRAWS, seed: int = 0) -> Difference:
    """Return ``differences`` of one pair."""
    return differences([(left, right)], draws, seed)[0]


def differences(
    pairs: Sequence[tuple[Floats, Floats]],
    draws: int = DRAWS,
    seed: int = 0,
    level: float = SMALLEST,
) -> list[Difference]:
    """Compute for each pair in a table the mean of left - right, [U] each, user by user, with the
    interval that the bootstrap over users gives.

    ``p`` is twice the smaller share of resampled means on either side of zero, with one draw added
    to each side, so that it is never below 2 / (draws + 1). In a long table Holm's correction would
    lift that above any level, whatever the differences; therefore there are at least so many draws
    that ``holm`` can go down to ``level``.

    Raises:
        DataError: vectors of unequal length, no user, or a value that is not finite.
    """
    for left, right in pairs:
        if len(left) != len(right) or not len(left):
            raise DataError(
                f"a paired difference needs the same users on both sides and at least one of them, "
                f"got {len(left)} and {len(right)}; align the vectors by user first"
            )
    draws = max(draws, ceil(2 * len(pairs) / level))
    paired = [left - right for left, right in pairs]
    found = []
    for values, means in zip(paired, _resampled(paired, draws, seed), strict=True):
        tail = min(int((means <= 0).sum()), int((means >= 0).sum()))
        p = min(1.0, 2 * (tail + 1) / (draws + 1))
        found.append(Difference(float(values.mean()), *_percentiles(means), p, len(values)))
    return found


def wilcoxon(left: Floats, right: Floats) -> float:
    """Return two-sided p of Wilcoxon's signed-rank test on [U] paired values; users without a
    difference are left out, and 1 is returned when none is left."""
    from scipy import stats

    paired = left - right
    paired = paired[paired != 0]
    return float(stats.wilcoxon(paired).pvalue) if len(paired) else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of one table, in the order given.

    >>> holm([0.01, 0.04, 0.03])  # 0.01 x 3, then 0.03 x 2, then max(0.04 x 1, 0.06)
    [0.03, 0.06, 0.06]
    """
    adjusted = [1.0] * len(p)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, p[i] * (len(p) - rank)))
        adjusted[i] = largest
    return adjusted


def smallest_effect(differences: Floats) -> float:
    """Return the true mean difference that a two-sided test at 5 % finds in 80 % of all repetitions
    with as many users, [U] paired differences: (1.96 + 0.84) * sd / sqrt(U) (Cohen 1988, 2.3).
    ``nan`` for fewer than two users."""
    n = len(differences)
    return (
        (1.96 + 0.84) * float(differences.std(ddof=1)) / float(np.sqrt(n))
        if n > 1
        else float("nan")
    )


def _resampled(rows: Sequence[Floats], draws: int, seed: int) -> list[Floats]:
    """[draws] means of each row over users drawn with replacement, none for a row without users.
    Rows of one length meet the same draws."""
    means = [np.empty(0)] * len(rows)
    for users in {len(values) for values in rows} - {0}:
        alike = [i for i, values in enumerate(rows) if len(values) == users]
        found = _means(np.stack([rows[i] for i in alike], axis=1), draws, seed)
        for i, column in zip(alike, found.T, strict=True):
            means[i] = column
    return means


def _means(values: Floats, draws: int, seed: int) -> Floats:
    """[draws, M] means of ``values``, [U, M], over the same resampled users; in chunks of bounded
    size."""
    if not np.isfinite(values).all():
        raise DataError(
            f"{(~np.isfinite(values)).sum()} of {len(values)} per-user values are not finite: run "
            "it again"
        )
    random, users = generator(seed, "bootstrap"), len(values)
    means = np.empty((draws, values.shape[1]))
    step = max(1, CHUNK // users)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = random.integers(0, users, (rows, users)) + users * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users)
        means[start : start + rows] = times @ values / users
    return means


def _percentiles(means: Floats) -> tuple[float, float]:
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
