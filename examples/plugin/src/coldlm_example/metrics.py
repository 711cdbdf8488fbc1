"""A metric: a formula of the place (g, e) of each positive. Shape: P positives."""

from __future__ import annotations

from torch import Tensor

PERSISTENCE = 0.8
"""Probability that somebody who has looked at one place of the list looks at the next."""


def rbp(g: Tensor, e: Tensor, k: int) -> Tensor:
    """Expected rank-biased precision within the first k (Moffat and Zobel 2008): (1 - p) * p^(rank
    - 1). [P] float64.

    With g candidates above and e level, the positive included, its rank is uniform on g+1 .. g+e,
    so that no order of the ties wins anything: (1/e) * (1 - p) * sum over r = g+1..min(g+e, k) of
    p^(r-1), which is a geometric series.
    """
    first, last = g.clamp(max=k).double(), (g + e).clamp(max=k).double()
    return (PERSISTENCE**first - PERSISTENCE**last) / e
