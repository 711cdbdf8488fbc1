"""Words and counts, put together by rank."""

from __future__ import annotations

import torch
from torch import Tensor

from coldlm.core.tables import Ints
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.bm25 import bm25
from coldlm.rivals.fusion import reciprocal_ranks
from coldlm.rivals.known import Known

K1 = 1.2
"""Of BM25, as is usual."""


def late_fusion(known: Known, weight: float) -> ScoreFunction:
    """Return weight / (60 + rank by BM25) + (1 - weight) / (60 + rank by decayed counts), ranks among
    the items that are there at the time (Cormack et al. 2009, "Reciprocal rank fusion", weighted)."""
    words = bm25(known, K1)

    def score(users: Ints, times: Ints) -> Tensor:
        there = known.catalogue.released(times)
        counts = known.as_of.log_decayed_counts(times, known.half_life)
        return torch.from_numpy(
            weight * reciprocal_ranks(words(users, times).double().numpy(), there)
            + (1 - weight) * reciprocal_ranks(counts, there)
        )

    return score
