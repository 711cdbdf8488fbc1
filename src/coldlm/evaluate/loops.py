"""Places of positives among candidates, counted in one pass, compiled. Shapes: Q queries, C columns, P
positives."""

from __future__ import annotations

import numpy as np

from coldlm.core.compiled import compiled
from coldlm.core.tables import Bools, Floats, Ints

NONE, ONE = np.int32(0), np.int32(1)


@compiled
def outranking(scores: Floats, candidates: Bools, positive: Ints, above: Ints, level: Ints) -> bool:
    """Write [P] candidates strictly above and level with each row's positive, itself left out; scores and
    candidates: [P, C]. Return whether all that were compared are finite."""
    n_bad = NONE
    for p in range(positive.shape[0]):
        own, mine, may = scores[p, positive[p]], scores[p], candidates[p]
        g = e = NONE
        for i in range(mine.shape[0]):
            g += may[i] & (mine[i] > own)
            e += may[i] & (mine[i] == own)
            n_bad += may[i] & (mine[i] - mine[i] != 0)  # neither is infinity less itself, nor NaN
        n_bad += own - own != 0
        above[p], level[p] = g, e - (ONE if may[positive[p]] else NONE)
    return bool(n_bad == NONE)


@compiled
def places(
    scores: Floats, candidates: Bools, counts: Floats, rows: Ints, positive: Ints, lower: Floats,
    upper: Floats, shelf: int, out: Ints,
) -> None:  # fmt: skip
    """Write [9, P] candidates above, level and in all, then the same among those with ``lower`` to
    ``upper`` (excluded) events, [P], and among those with up to ``shelf``.

    Args:
        scores, counts: [Q, C] float; candidates: [Q, C] bool, without the positives.
        rows, positive: [P] row and column of each positive.
    """
    for p in range(positive.shape[0]):
        row = rows[p]
        own, mine, may, known = scores[row, positive[p]], scores[row], candidates[row], counts[row]
        low, high = lower[p], upper[p]
        g = e = n = peers_g = peers_e = peers_n = shelf_g = shelf_e = shelf_n = NONE
        for i in range(mine.shape[0]):
            is_above, is_level = may[i] & (mine[i] > own), may[i] & (mine[i] == own)
            is_peer, is_new = (known[i] >= low) & (known[i] < high), known[i] <= shelf
            g += is_above
            e += is_level
            n += may[i]
            peers_g += is_above & is_peer
            peers_e += is_level & is_peer
            peers_n += may[i] & is_peer
            shelf_g += is_above & is_new
            shelf_e += is_level & is_new
            shelf_n += may[i] & is_new
        out[0, p], out[1, p], out[2, p] = g, e, n
        out[3, p], out[4, p], out[5, p] = peers_g, peers_e, peers_n
        out[6, p], out[7, p], out[8, p] = shelf_g, shelf_e, shelf_n
