"""Losses over a batch of events and a set of columns (items). Shapes: B events, M columns.

A loss says which columns it wants (``negatives``, ``draws``, ``in_batch``) and turns logits into
one value per event. The sampler in ``learn/negatives.py`` gives, for every event and column, log
w_ij: how much column j stands for in the loss of event i (the number of draws, divided by its
expectation where the loss is ``corrected``), and -inf where j may not be a negative of i (not yet
released, already had, or never drawn for i).

``negatives`` is one of

    uniform      uniform draws from C(t), the items released by the event's time t
    popularity   draws from C(t) in proportion to 1 + the item's events before t
    in_batch     the items of the batch's events of other users: nothing is drawn, never-taken items are no negatives
    given        the other items of the list that was shown to the user, for data that holds such lists

and ``ips``, where it is a number, weighs events by 1 / max(propensity, ips) with the propensity of
an item with n events before t, the most popular one having m, taken as ((n + 1) / (m + 1)) ^ 1/2
(Saito et al. 2020, section 4, with one added so that new items have one; Schnabel et al. 2016, eq.
5). The weights of a batch are divided by their mean, so that rates keep their meaning. A larger
``ips`` clips harder: less variance, more bias towards popular items; 1 is none.

``sees_level`` says whether a number added to all scores of one event changes the loss. Where it
does not, a parameter that adds just that (``levels`` of a head) has nothing to learn from, and must
not train: its gradient is rounding alone, which Adam makes a step of full length of, another one on
every processor.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from coldlm.core.columns import Above0, Count, Range, Share

Negatives = Literal["uniform", "popularity", "in_batch", "given"]
Propensity = Annotated[float, Range(0, 1, above=True)] | None


class SampledSoftmax:
    """Softmax over the batch's items plus ``draws`` items from C(t): the default.

    loss_i = -s_i+ + log( exp(s_i+) + sum over j != + of w_ij exp(s_ij) ),  w_ij = c_ij / E[c_ij]

    c_ij is how often j was drawn for i and E[c_ij] its expectation under the sampling mixture of
    batch events and
    draws: the log-Q correction (Bengio and Senecal 2008; Yi et al. 2019, eq. 3) in the form that
    leaves the positive alone, so that the sum is an unbiased estimate of the full softmax's
    denominator (of its part over items that other users of the training took, where negatives are
    ``in_batch``). Over a ``given`` list w_ij is 1.

    Args:
        label_smoothing: e, the share of the target that is spread over all candidates (Szegedy et
            al. 2016, section 7): e * (s_i+ - mean of s over + and the w_ij) is added.
    """

    explicit_negatives = False
    sees_level = False

    def __init__(
        self,
        *,
        negatives: Negatives = "uniform",
        draws: Count = 256,
        label_smoothing: Share = 0.0,
        ips: Propensity = None,
    ) -> None:
        self.negatives, self.ips, self.label_smoothing = negatives, ips, label_smoothing
        self.draws: int | None = _drawn(negatives, draws)
        self.in_batch = self.corrected = negatives != "given"

    def __call__(
        self, logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor
    ) -> Tensor:
        """[B] losses. logits, log_weight: [B, M]; positive: [B] int64 columns; label: [B], all
        1."""
        return _softmax(logits, log_weight, positive, self.label_smoothing)


class FullSoftmax:
    """Softmax over every item released at the event's time: exact, and as slow as the catalogue is
    large."""

    negatives: Negatives = "uniform"
    draws: int | None = None
    in_batch = False
    corrected = True
    explicit_negatives = False
    sees_level = False

    def __init__(self, *, label_smoothing: Share = 0.0, ips: Propensity = None) -> None:
        self.ips, self.label_smoothing = ips, label_smoothing

    def __call__(
        self, logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor
    ) -> Tensor:
        """As in ``SampledSoftmax``."""
        return _softmax(logits, log_weight, positive, self.label_smoothing)


class AlphaEntmax:
    """Softmax's sparse sibling over the same items and draws as ``SampledSoftmax``: items far below the
    others have probability 0, and no gradient.

    loss_i = sum over j of w_ij p_ij s_ij - s_i+ + H(p_i),  p_ij = [(alpha - 1) s_ij - t_i]_+ ^ (1 / (alpha - 1))

    where t_i is such that the w_ij p_ij sum to 1 (w_i+ = 1) and H is the sum of w_ij (p_ij - p_ij^alpha) / (alpha
    (alpha - 1)): the Fenchel-Young loss of alpha-entmax (Peters et al. 2019, "Sparse
    sequence-to-sequence models", section 3), whose gradient is w p - y. It becomes ``SampledSoftmax`` as alpha
    falls to 1, weights included; at 2 it is sparsemax's. t is found by bisection, which works at any alpha.
    """

    explicit_negatives = False
    sees_level = False

    def __init__(
        self,
        *,
        alpha: Annotated[float, Range(1, 2, above=True)] = 1.5,
        negatives: Negatives = "uniform",
        draws: Count = 256,
        ips: Propensity = None,
    ) -> None:
        self.alpha, self.negatives, self.ips = alpha, negatives, ips
        self.draws: int | None = _drawn(negatives, draws)
        self.in_batch = self.corrected = negatives != "given"

    def __call__(
        self, logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor
    ) -> Tensor:
        """As in ``SampledSoftmax``."""
        own = logits.gather(1, positive[:, None])
        # adding a number to all scores of an event changes nothing but the rounding
        scores, weight = logits - own, torch.exp(log_weight.scatter(1, positive[:, None], 0.0))
        with torch.no_grad():
            p = _entmax(scores.double(), weight.double(), self.alpha)
            tsallis = weight * (p - p**self.alpha) / (self.alpha * (self.alpha - 1))
        # the best p lets the loss change with the scores as if it stood still
        return (weight * p.to(scores.dtype) * scores).sum(1) + tsallis.sum(1).to(scores.dtype)


BISECTIONS = 60
"""Halvings of where t may lie: to a double's last bits."""


def _entmax(scores: Tensor, weight: Tensor, alpha: float) -> Tensor:
    """[B, M] p of each column, counted ``weight`` times; the positive has score 0 and weight 1."""
    raised = (alpha - 1) * scores
    low = torch.full_like(raised[:, :1], -1.0)  # the positive alone comes to 1 there
    high = raised.masked_fill(weight == 0, -torch.inf).amax(1, keepdim=True)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        p = (raised - middle).clamp(min=0) ** (1 / (alpha - 1))
        too_low = (weight * p).sum(1, keepdim=True) >= 1
        low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
    p = (raised - low).clamp(min=0) ** (1 / (alpha - 1))
    return torch.where(weight == 0, 0, p / (weight * p).sum(1, keepdim=True))


class InfoNCE:
    """Softmax with a temperature over the items of the batch's events of other users (van den Oord
    et al. 2018, eq. 4).

    loss_i = -s_i+ / temperature + log( sum over + and e of exp(s_ie / temperature) ), where e are
    the events of other users

    No correction, and so a bias: negatives come as often as they are taken, and the best score is
    not log p(j | i) but log p(j | i) - log p(j) + constant (section 2.3). Items lose what
    popularity alone explains, which is no ranking by probability, and items that were never taken
    are no negatives.
    """

    negatives: Negatives = "in_batch"
    draws: int | None = 0
    in_batch = True
    corrected = False
    explicit_negatives = False
    sees_level = False

    def __init__(
        self,
        *,
        temperature: Above0 = 1.0,
        label_smoothing: Share = 0.0,
        ips: Propensity = None,
    ) -> None:
        self.ips, self.temperature, self.label_smoothing = ips, temperature, label_smoothing

    def __call__(
        self, logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor
    ) -> Tensor:
        """As in ``SampledSoftmax``."""
        return _softmax(logits / self.temperature, log_weight, positive, self.label_smoothing)


class BPR:
    """Bayesian personalised ranking: -log sigmoid(s_i+ - s_ij), averaged over the draws j (Rendle
    et al. 2009, section 4.1; its regulariser is the optimiser's weight decay). An event without any
    negative counts 0."""

    corrected = False
    explicit_negatives = False
    sees_level = False

    def __init__(
        self, *, negatives: Negatives = "uniform", draws: Count = 64, ips: Propensity = None
    ) -> None:
        self.negatives, self.ips = negatives, ips
        self.draws: int | None = _drawn(negatives, draws)
        self.in_batch = negatives == "in_batch"

    def __call__(
        self, logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor
    ) -> Tensor:
        """As in ``SampledSoftmax``."""
        weight = _of_negatives(log_weight, positive)
        apart = F.softplus(logits - logits.gather(1, positive[:, None]))
        return (weight * apart).sum(1) / weight.sum(1).clamp(min=1e-9)


class BinaryCrossEntropy:
    """Binary cross-entropy of the event's own label and of its negatives, averaged over both.

    Events that are not positives (a low rating) are trained on as given negatives, without draws.

    Args:
        label_smoothing: e, which makes targets e/2 and 1 - e/2 of 0 and 1.
    """

    corrected = False
    explicit_negatives = True
    sees_level = True

    def __init__(
        self,
        *,
        negatives: Negatives = "uniform",
        draws: Count = 64,
        label_smoothing: Share = 0.0,
        ips: Propensity = None,
    ) -> None:
        self.negatives, self.ips, self.label_smoothing = negatives, ips, label_smoothing
        self.draws: int | None = _drawn(negatives, draws)
        self.in_batch = negatives == "in_batch"

    def __call__(
        self, logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor
    ) -> Tensor:
        """[B] losses; ``label`` [B] is 1 for positives, 0 for given negatives. Other arguments as
        above."""
        own = logits.gather(1, positive[:, None])[:, 0]
        weight = _of_negatives(log_weight, positive) * label[:, None]
        low = self.label_smoothing / 2
        drawn = (weight * (F.softplus(logits) - low * logits)).sum(1)
        target = label * (1 - 2 * low) + low
        return (F.binary_cross_entropy_with_logits(own, target, reduction="none") + drawn) / (
            1 + weight.sum(1)
        )


class NegativeLogLikelihood:
    """Minus the logit of the chosen item, which is a log-probability (``head=causal_lm``): no
    negatives are needed, as every other text lost what this one has."""

    negatives: Negatives = "uniform"
    draws: int | None = 0
    in_batch = False
    corrected = False
    explicit_negatives = False
    sees_level = True
    ips: float | None = None

    def __call__(
        self, logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor
    ) -> Tensor:
        """[B] losses. Arguments as above."""
        return -logits.gather(1, positive[:, None])[:, 0]


def _drawn(negatives: Negatives, draws: int) -> int:
    return draws if negatives in ("uniform", "popularity") else 0


def _softmax(logits: Tensor, log_weight: Tensor, positive: Tensor, smoothing: float) -> Tensor:
    """[B] cross-entropy with weighted negatives, the positive's own weight 1."""
    loss = F.cross_entropy(
        logits + log_weight.scatter(1, positive[:, None], 0.0), positive, reduction="none"
    )
    if smoothing:
        weight = torch.exp(log_weight).scatter(1, positive[:, None], 1.0)
        loss = loss + smoothing * (
            logits.gather(1, positive[:, None])[:, 0] - (weight * logits).sum(1) / weight.sum(1)
        )
    return loss


def _of_negatives(log_weight: Tensor, positive: Tensor) -> Tensor:
    """[B, M] w_ij, 0 at the positive."""
    return torch.exp(log_weight).scatter(1, positive[:, None], 0.0)


def item_to_item(taken: Tensor, a: Tensor) -> Tensor:
    """Return the loss of each of B users, x in row b of ``taken``, under the linear model of items by items
    A A' - I, A the item vectors,

        |norm(x) - norm(max(0, x (A A' - I)))|^2,

    norm a vector at length 1 (Vančura et al. 2022, "Scalable linear shallow autoencoder for collaborative
    filtering", eq. 7).

    Args:
        taken: [B, M], 1 where a user took an item, else 0. a: [M, D] of length 1.
    """
    said = F.relu(taken @ a @ a.T - taken)
    return (F.normalize(taken, dim=1) - F.normalize(said, dim=1)).square().sum(1)
