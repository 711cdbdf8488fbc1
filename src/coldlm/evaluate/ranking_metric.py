"""One formula of ``metrics`` as a torchmetrics metric: in a module of its own, since importing torchmetrics
takes longer than to recommend."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from coldlm.evaluate.metrics import FORMULAS, outranking


class RankingMetric(Metric):
    """A formula of (g, e) over dense scores; its states are sums, so it is right under DDP.

    Args:
        formula: a key of ``FORMULAS``.
        k: the cut; 0 for none (MRR).
        n_users: size of the user code space.
        average: "macro" over the users that had a positive, or "micro" over rows.
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(
        self, formula: str, k: int, n_users: int, average: Literal["macro", "micro"] = "macro"
    ) -> None:
        super().__init__()
        self.formula, self.k, self.average = formula, k, average
        self.add_state("total", torch.zeros(n_users, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(n_users, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        scores: Tensor,
        candidates: Tensor,
        positive: Tensor,
        user: Tensor,
        share: Tensor | None = None,
    ) -> None:
        """Add rows: scores [Q, N], candidates [Q, N] bool, positive [Q], user [Q]; ``share`` [Q] is
        a row's share of its query (1 / positives of the block), 1 by default."""
        g, e = outranking(scores, candidates, positive)
        value = FORMULAS[self.formula](g, e, self.k)
        share = torch.ones_like(value) if share is None else share.double()
        self.total.index_add_(0, user, value * share)
        self.weight.index_add_(0, user, share)

    def compute(self) -> Tensor:
        """Return the average; NaN without any row."""
        if self.average == "micro":
            return self.total.sum() / self.weight.sum()
        seen = self.weight > 0
        return (self.total[seen] / self.weight[seen]).mean()
