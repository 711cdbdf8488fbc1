"""A list of K in which s places are kept for the shelf: what a shop would pay for showing new things.

The s best of the shelf stand in the list, and the best of all others fill it up, both by the same
scores. A shelf of fewer than s leaves the rest of its places to the others.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from coldlm.core.columns import ON_SHELF, SLOTS, view_columns
from coldlm.core.tables import Bools, Floats, Ints

MOST = 11
"""Numbers of kept places that are looked at: all up to a list of ten."""

AT_ONCE = 2**22
"""Probabilities that are held at once."""


def kept_places(k: int) -> tuple[int, ...]:
    """Return the numbers s of places that are kept, from none to all ``k``.

    >>> kept_places(3), kept_places(100)
    ((0, 1, 2, 3), (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100))
    """
    return tuple(np.unique(np.linspace(0, k, min(k + 1, MOST)).round().astype(int)).tolist())


def slot_columns(k: int) -> tuple[str, ...]:
    """Return the columns of ``with_slots``: over all positives, then over those on the shelf."""
    return tuple(
        f"{SLOTS}{kept}{where}" for where in ("", f"/{ON_SHELF}") for kept in kept_places(k)
    )


def with_slots(events: pl.DataFrame, k: int) -> pl.DataFrame:
    """Return the events with a column per number of kept places: the share of random orders of the
    ties in which the positive is in the list of ``k``; and again for those on the shelf, null for
    others."""
    names = ("g", "e", *view_columns("shelf"))
    g, e, shelf_g, shelf_e, candidates = (events[name].to_numpy() for name in names)
    on_shelf = events[ON_SHELF].to_numpy() == 1
    values = hits(g, e, shelf_g, shelf_e, candidates - ~on_shelf, on_shelf, k)
    columns = [
        pl.Series(f"{SLOTS}{kept}", column)
        for kept, column in zip(kept_places(k), values.T, strict=True)
    ]
    new = [
        pl.when(pl.col(ON_SHELF) == 1).then(column).alias(f"{column.name}/{ON_SHELF}")
        for column in columns
    ]
    return events.with_columns(columns).with_columns(new)


def hits(
    g: Ints, e: Ints, shelf_g: Ints, shelf_e: Ints, shelf: Ints, on_shelf: Bools, k: int
) -> Floats:
    """Return [P, S] the probability that each positive is in the list, for each number of kept
    places.

    Of the positive's ties, its own place among A of the shelf and B others is uniform. With s places
    kept, and no more than the shelf holds,

    - a positive on the shelf is in the list if shelf_g + A < s, or else if g + A + B < K;
    - any other if g + A + B - min(shelf_g + A, s) < K - s: those of the shelf that stand above it and
      have a kept place take none of the rest.

    Args:
        g, e, shelf_g, shelf_e: [P] candidates strictly above and tied (itself included), among all and
            on the shelf.
        shelf: [P] candidates on the shelf, the positive included where it is one.
        on_shelf: [P] whether it is.
    """
    kept = kept_places(k)
    found = np.empty((len(g), len(kept)))
    for rows, joint in _ties(e, shelf_e, k):
        places = np.arange(joint.shape[1])
        a, b = places[None, :, None], places[None, None, :]
        above, on_it, size, its = (x[rows, None, None] for x in (g, shelf_g, shelf, on_shelf))
        for column, s in enumerate(kept):
            most = np.minimum(s, size)
            late = on_it + a >= most
            inside = np.where(
                its,
                late & (above + a + b < k),
                above + a + b - np.minimum(on_it + a, most) < k - most,
            )
            # its place among the ties of the shelf is uniform, however many others are level
            early = np.clip((most - on_it)[:, 0, 0] / shelf_e[rows], 0, 1)
            found[rows, column] = (joint * inside).sum((1, 2)) + early * on_shelf[rows]
    return found


def _ties(e: Ints, shelf_e: Ints, k: int) -> Iterator[tuple[Ints, Floats]]:
    """Positions of positives, and how probable their ties' orders are: see ``_joint``, of those without
    a tie [P, 1, 1]."""
    alone, tied = np.flatnonzero(e == 1), np.flatnonzero(e > 1)
    yield alone, np.ones((len(alone), 1, 1))
    step = max(AT_ONCE // k**2, 1)
    for begin in range(0, len(tied), step):
        rows = tied[begin : begin + step]
        yield rows, _joint(shelf_e[rows] - 1, e[rows] - shelf_e[rows], k)


def _joint(a: Ints, b: Ints, k: int) -> Floats:
    """[P, k, k] the probability of i of ``a`` and j of ``b`` ties above the positive: C(a, i) C(b, j) /
    C(a + b, i + j) / (a + b + 1). More than k of either leave no place to anybody."""
    from scipy.special import gammaln

    def choose(n: Ints, r: Ints) -> Floats:
        can = r <= n
        of = np.where(can, r, 0)
        logs: Floats = gammaln(n + 1) - gammaln(of + 1) - gammaln(n - of + 1)
        return np.where(can, logs, -np.inf)

    i, j = np.arange(k)[None, :, None], np.arange(k)[None, None, :]
    a, b = a[:, None, None], b[:, None, None]
    ways = choose(a, i) + choose(b, j)
    possible = np.isfinite(ways)
    of = choose(a + b, np.where(possible, i + j, 0))
    probability: Floats = np.exp(np.where(possible, ways - of, -np.inf)) / (a + b + 1)
    return probability
