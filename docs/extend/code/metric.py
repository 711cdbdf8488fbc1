"""A metric: rank-biased precision, as its expectation over a random order of the ties."""

from __future__ import annotations

import torch
from torch import Tensor

PATIENCE = 0.8
"""Probability that a reader looks at the next place."""


def rbp(g: Tensor, e: Tensor, k: int) -> Tensor:
    """(1/e) * sum over r = g+1..min(g+e, k) of (1 - p) p^(r-1), for a positive with g candidates
    strictly above it and e level with it, itself included: (p^g - p^min(g+e, k)) / e. [P]
    float64."""
    first, last = g.clamp(max=k).double(), (g + e).clamp(max=k).double()
    base = torch.tensor(PATIENCE, dtype=torch.float64)
    return (base**first - base**last) / e
