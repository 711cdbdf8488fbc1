"""Scores of two scorers made comparable, among the candidates of a time. Shapes: Q queries, N items."""

from __future__ import annotations

import numpy as np

from coldlm.core.tables import Bools, Floats

RRF = 60
"""What is added to ranks, as is usual."""


def ranks(scores: Floats, there: Bools) -> Floats:
    """Return the rank, from 1, of each item among those that are ``there``, ties at their mean rank; who
    is not there is behind all. [Q, N] all."""
    from scipy.stats import rankdata

    found: Floats = rankdata(np.where(there, -scores, np.inf), axis=1)
    return found


def reciprocal_ranks(scores: Floats, there: Bools) -> Floats:
    """Return 1 / (60 + rank) of ``ranks``."""
    return 1 / (RRF + ranks(scores, there))


def standard(scores: Floats, there: Bools) -> Floats:
    """Return (score - mean) / standard deviation of those that are ``there``; 0 where they all tie."""
    n = np.maximum(there.sum(1, keepdims=True), 1)
    mean = np.where(there, scores, 0).sum(1, keepdims=True) / n
    spread = np.sqrt((np.where(there, scores - mean, 0) ** 2).sum(1, keepdims=True) / n)
    found: Floats = (scores - mean) / np.where(spread > 0, spread, 1)
    return found
