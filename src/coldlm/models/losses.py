"""Losses over a batch of events and a set of columns (items). Shapes: B events, M columns.

A loss says which columns it wants (``in_batch``, ``draws``) and turns logits into one value per event. The sampler in
``learn/batches.py`` gives, for every event and column, log w_ij: how much column j stands for in the loss of event i
(the number of draws, divided by its expectation where the loss is ``corrected``), and -inf where j may not be a
negative of i (not yet released, already had, or never drawn for i).
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from coldlm.columns import Range


class SampledSoftmax:
    """Softmax over the batch's items plus ``uniform`` draws from C(t): the default.

    loss_i = -s_i+ + log( exp(s_i+) + sum over j != + of w_ij exp(s_ij) ),  w_ij = c_ij / E[c_ij]

    c_ij is how often j was drawn for i and E[c_ij] its expectation under the sampling mixture of batch events and
    uniform draws: the log-Q correction (Bengio and Senecal 2008; Yi et al. 2019, eq. 3) in the form that leaves the
    positive alone, so that the sum is an unbiased estimate of the full softmax's denominator.
    """

    in_batch = True
    corrected = True
    explicit_negatives = False

    def __init__(self, *, uniform: Annotated[int, Range(1)] = 256) -> None:
        self.draws: int | None = uniform

    def __call__(self, logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor) -> Tensor:
        """[B] losses. logits, log_weight: [B, M]; positive: [B] int64 columns; label: [B], all 1."""
        return F.cross_entropy(_with_positive(logits, log_weight, positive), positive, reduction="none")


class FullSoftmax(SampledSoftmax):
    """Softmax over every item released at the event's time: exact, and as slow as the catalogue is large."""

    in_batch = False

    def __init__(self) -> None:
        self.draws = None


class BinaryCrossEntropy:
    """Binary cross-entropy of the event's own label and of ``negatives`` uniform draws from C(t), averaged over both.

    Events that are not positives (a low rating) are trained on as given negatives, without draws.
    """

    in_batch = False
    corrected = False
    explicit_negatives = True

    def __init__(self, *, negatives: Annotated[int, Range(1)] = 64) -> None:
        self.draws: int | None = negatives

    def __call__(self, logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor) -> Tensor:
        """[B] losses; ``label`` [B] is 1 for positives, 0 for given negatives. Other arguments as above."""
        own = logits.gather(1, positive[:, None])[:, 0]
        weight = torch.exp(log_weight).scatter(1, positive[:, None], 0.0) * label[:, None]
        drawn = (weight * F.softplus(logits)).sum(1)
        return (F.binary_cross_entropy_with_logits(own, label, reduction="none") + drawn) / (1 + weight.sum(1))


class NegativeLogLikelihood:
    """Minus the logit of the chosen item, which is a log-probability (``head=causal_lm``): no negatives are needed, as
    every other text lost what this one has."""

    in_batch = False
    corrected = False
    explicit_negatives = False
    draws: int | None = 0

    def __call__(self, logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor) -> Tensor:
        """[B] losses. Arguments as above."""
        return -logits.gather(1, positive[:, None])[:, 0]


def _with_positive(logits: Tensor, log_weight: Tensor, positive: Tensor) -> Tensor:
    """Weighted logits, the positive's own unweighted."""
    return logits + log_weight.scatter(1, positive[:, None], 0.0)
