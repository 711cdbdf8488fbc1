"""A loss: the positive must be above every negative by a margin. B events, M columns."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from coldlm.core.columns import Above0, Count, Range


class Margin:
    """loss_i = sum over j of w_ij max(0, margin - s_i+ + s_ij) / sum over j of w_ij, over the
    negatives j."""

    in_batch = False  # the batch's other items are no negatives
    corrected = False  # w_ij counts draws; True divides them by their expectation
    explicit_negatives = False  # events with label 0 are left out
    sees_level = False  # a number added to all scores of an event changes nothing

    def __init__(
        self,
        *,
        negatives: Literal["uniform", "popularity"] = "uniform",
        draws: Count = 64,
        margin: Above0 = 1.0,
        ips: Annotated[float, Range(0, 1, above=True)] | None = None,
    ) -> None:
        self.negatives, self.draws, self.margin, self.ips = negatives, draws, margin, ips

    def __call__(
        self, logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor
    ) -> Tensor:
        """[B] losses. logits, log_weight: [B, M]; positive: [B] columns of the events' own items;
        label: [B]."""
        weight = torch.exp(log_weight).scatter(1, positive[:, None], 0.0)
        below = (self.margin + logits - logits.gather(1, positive[:, None])).clamp(min=0)
        return (weight * below).sum(1) / weight.sum(1).clamp(min=1e-9)
