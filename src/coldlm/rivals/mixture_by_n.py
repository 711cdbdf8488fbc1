"""Text for items with few events, neighbours for those with many."""

from __future__ import annotations

import torch
from torch import Tensor

from coldlm.core.tables import Ints
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.content_knn import content_knn
from coldlm.rivals.fusion import standard
from coldlm.rivals.item_knn import item_knn
from coldlm.rivals.known import Known

LAST, NEIGHBOURS = 5, 100
"""Of the two that are mixed."""


def mixture_by_n(known: Known, events: float) -> ScoreFunction:
    """Return (events * cold + n * warm) / (events + n), where n is the number of positives of the item
    before the time, ``cold`` the score of ``content_knn`` and ``warm`` that of ``item_knn``, both minus
    their mean and divided by their standard deviation over the items that are there: a weighted
    hybrid (Burke 2002, "Hybrid recommender systems") whose weight is that of an estimate from n events
    shrunk to a guess that is worth ``events`` of them."""
    cold, warm = content_knn(known, LAST), item_knn(known, NEIGHBOURS)

    def score(users: Ints, times: Ints) -> Tensor:
        there, n = known.catalogue.released(times), known.as_of.counts(times)
        guess, estimate = (
            standard(scorer(users, times).double().numpy(), there) for scorer in (cold, warm)
        )
        return torch.from_numpy((events * guess + n * estimate) / (events + n))

    return score
