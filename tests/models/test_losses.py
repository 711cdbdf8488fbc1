"""Losses against their formulas, in plain Python. Three events, four columns."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from coldlm.models.losses import (
    BPR,
    AlphaEntmax,
    BinaryCrossEntropy,
    FullSoftmax,
    InfoNCE,
    NegativeLogLikelihood,
    SampledSoftmax,
)

LOGITS = torch.tensor([[0.5, -1.0, 2.0, 0.0], [1.5, 0.2, -0.3, 0.7], [0.1, 0.2, 0.3, 0.4]])
POSITIVE = torch.tensor([2, 0, 1])
WEIGHT = torch.tensor([[1.0, 3.0, 0.0, 0.5], [0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
"""w_ij; the positive's own is 0, and the third event has no negative at all."""
ONES = torch.ones(3)
Loss = (
    SampledSoftmax
    | FullSoftmax
    | AlphaEntmax
    | BinaryCrossEntropy
    | BPR
    | InfoNCE
    | NegativeLogLikelihood
)
SMOOTH = 0.3
LOSSES: list[Loss] = [
    SampledSoftmax(),
    SampledSoftmax(label_smoothing=SMOOTH),
    FullSoftmax(),
    BinaryCrossEntropy(),
    BinaryCrossEntropy(label_smoothing=SMOOTH),
    BPR(),
    InfoNCE(temperature=0.5),
    AlphaEntmax(alpha=1.1),
]


def _negatives(i: int, temperature: float = 1.0) -> list[tuple[float, float]]:
    """(w_ij, s_ij) of what is not the positive."""
    pairs = zip(WEIGHT[i].tolist(), LOGITS[i].tolist(), strict=True)
    return [(w, x / temperature) for j, (w, x) in enumerate(pairs) if j != int(POSITIVE[i])]


def _softmax(i: int, smoothing: float = 0.0, temperature: float = 1.0) -> float:
    """Cross-entropy between a target of 1 - e on the positive, e spread over all by weight, and the
    softmax."""
    own = float(LOGITS[i, POSITIVE[i]]) / temperature
    weighted = [(1.0, own), *_negatives(i, temperature)]
    z = math.log(sum(w * math.exp(x) for w, x in weighted))
    total = sum(w for w, _ in weighted)
    return -(1 - smoothing) * (own - z) - smoothing * sum(w / total * (x - z) for w, x in weighted)


def test_softmax_is_its_formula() -> None:
    expected = torch.tensor([_softmax(i) for i in range(3)])
    torch.testing.assert_close(SampledSoftmax()(LOGITS, WEIGHT.log(), POSITIVE, ONES), expected)
    torch.testing.assert_close(FullSoftmax()(LOGITS, WEIGHT.log(), POSITIVE, ONES), expected)


def test_smoothing_and_temperature_are_in_the_formula() -> None:
    for loss, keys in (
        (SampledSoftmax(label_smoothing=SMOOTH), (SMOOTH,)),
        (FullSoftmax(label_smoothing=SMOOTH), (SMOOTH,)),
        (InfoNCE(temperature=0.5), (0.0, 0.5)),
        (InfoNCE(temperature=2.0, label_smoothing=SMOOTH), (SMOOTH, 2.0)),
    ):
        expected = torch.tensor([_softmax(i, *keys) for i in range(3)])
        torch.testing.assert_close(loss(LOGITS, WEIGHT.log(), POSITIVE, ONES), expected)


def _entmax(i: int, alpha: float) -> list[float]:
    """w_ij p_ij of the columns of event i, t by trying: the sum of them falls as t rises."""
    w = WEIGHT[i].scatter(0, POSITIVE[i], 1.0).tolist()
    z = LOGITS[i].tolist()
    low, high = -20.0, 20.0
    for _ in range(200):
        t = (low + high) / 2
        p = [
            a * max((alpha - 1) * x - t, 0) ** (1 / (alpha - 1)) for a, x in zip(w, z, strict=True)
        ]
        low, high = (t, high) if sum(p) > 1 else (low, t)
    return p


@pytest.mark.parametrize("alpha", [1.2, 1.5, 2.0])
def test_the_gradient_of_entmax_is_its_probabilities_minus_what_was_taken(alpha: float) -> None:
    logits = LOGITS.double().requires_grad_()
    loss = AlphaEntmax(alpha=alpha)
    loss(logits, WEIGHT.log().double(), POSITIVE, ONES).sum().backward()
    expected = torch.tensor([_entmax(i, alpha) for i in range(3)], dtype=torch.float64)
    expected[range(3), POSITIVE] -= 1
    torch.testing.assert_close(logits.grad, expected, atol=1e-9, rtol=1e-7)
    inputs = logits.detach().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: loss(x, WEIGHT.log().double(), POSITIVE, ONES), inputs, atol=1e-6
    )


def test_entmax_becomes_the_softmax_and_is_0_where_the_positive_is_far_above() -> None:
    softmax = SampledSoftmax()(LOGITS, WEIGHT.log(), POSITIVE, ONES)
    got = AlphaEntmax(alpha=1.0001)(LOGITS, WEIGHT.log(), POSITIVE, ONES)
    torch.testing.assert_close(got, softmax, atol=1e-3, rtol=1e-3)
    far = torch.tensor([[0.0, 9.0, 1.0, 2.0]], requires_grad=True)
    loss = AlphaEntmax()(far, torch.zeros(1, 4), torch.tensor([1]), ONES[:1])
    loss.sum().backward()
    assert loss.tolist() == [0.0]
    assert far.grad is not None
    assert not far.grad.any()


def test_entmax_without_any_negative_is_zero() -> None:
    assert AlphaEntmax()(LOGITS, WEIGHT.log(), POSITIVE, ONES)[2].item() == 0


def test_smoothing_over_all_columns_is_torchs() -> None:
    got = FullSoftmax(label_smoothing=SMOOTH)(LOGITS, torch.zeros(3, 4), POSITIVE, ONES)
    torch.testing.assert_close(
        got, F.cross_entropy(LOGITS, POSITIVE, reduction="none", label_smoothing=SMOOTH)
    )


def test_bpr_is_its_formula() -> None:
    def expected(i: int) -> float:
        own = float(LOGITS[i, POSITIVE[i]])
        lost = [w * -math.log(1 / (1 + math.exp(x - own))) for w, x in _negatives(i)]
        return sum(lost) / float(WEIGHT[i].sum()) if lost and WEIGHT[i].sum() else 0.0

    got = BPR()(LOGITS, WEIGHT.log(), POSITIVE, ONES)
    torch.testing.assert_close(got, torch.tensor([expected(i) for i in range(3)]))
    assert float(got[2]) == 0  # no negative, no pair


def test_softmax_of_all_columns_is_plain_cross_entropy() -> None:
    got = FullSoftmax()(LOGITS, torch.zeros(3, 4), POSITIVE, ONES)
    torch.testing.assert_close(got, F.cross_entropy(LOGITS, POSITIVE, reduction="none"))


def test_softmax_without_any_negative_is_zero() -> None:
    assert float(SampledSoftmax()(LOGITS, WEIGHT.log(), POSITIVE, ONES)[2]) == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("own", [-math.inf, 0.0, 5.0])
def test_the_positives_own_weight_is_never_looked_at(loss: Loss, own: float) -> None:
    log_weight = WEIGHT.log().scatter(1, POSITIVE[:, None], own)
    assert torch.equal(
        loss(LOGITS, log_weight, POSITIVE, ONES), loss(LOGITS, WEIGHT.log(), POSITIVE, ONES)
    )


@pytest.mark.parametrize("loss", [*LOSSES, NegativeLogLikelihood()])
def test_a_loss_says_whether_it_sees_a_number_added_to_all_scores_of_an_event(loss: Loss) -> None:
    level = torch.tensor([[3.0], [-2.0], [0.5]])
    before, after = (
        loss(logits, WEIGHT.log(), POSITIVE, ONES) for logits in (LOGITS, LOGITS + level)
    )
    assert bool((after - before).abs().max() > 1e-2) == loss.sees_level
    if not loss.sees_level:
        torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_masked_columns_get_no_gradient_and_the_others_a_finite_one(loss: Loss) -> None:
    logits = LOGITS.clone().requires_grad_()
    loss(logits, WEIGHT.log(), POSITIVE, ONES).sum().backward()
    masked = (WEIGHT == 0).scatter(1, POSITIVE[:, None], False)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[masked] == 0).all()
    assert (logits.grad[~masked & (WEIGHT.sum(1) > 0)[:, None]] != 0).all()


def _binary(i: int, label: float, smoothing: float = 0.0) -> float:
    def one(x: float, target: float) -> float:
        target = target * (1 - smoothing) + smoothing / 2
        return -target * math.log(1 / (1 + math.exp(-x))) - (1 - target) * math.log(
            1 / (1 + math.exp(x))
        )

    own = one(float(LOGITS[i, POSITIVE[i]]), label)
    if not label:
        return own
    return (own + sum(w * one(x, 0.0) for w, x in _negatives(i))) / (1 + float(WEIGHT[i].sum()))


@pytest.mark.parametrize("smoothing", [0.0, SMOOTH])
def test_binary_cross_entropy_is_its_formula_with_draws_for_positives_only(
    smoothing: float,
) -> None:
    label = torch.tensor([1.0, 0.0, 1.0])
    expected = torch.tensor([_binary(i, float(label[i]), smoothing) for i in range(3)])
    got = BinaryCrossEntropy(label_smoothing=smoothing)(LOGITS, WEIGHT.log(), POSITIVE, label)
    torch.testing.assert_close(got, expected)


def test_each_loss_says_what_it_wants_of_the_sampler() -> None:
    def wants(loss: Loss) -> tuple[str, int | None, bool, bool, bool]:
        return loss.negatives, loss.draws, loss.in_batch, loss.corrected, loss.explicit_negatives

    assert wants(SampledSoftmax(draws=7)) == ("uniform", 7, True, True, False)
    assert wants(SampledSoftmax(negatives="popularity")) == ("popularity", 256, True, True, False)
    assert wants(SampledSoftmax(negatives="in_batch")) == ("in_batch", 0, True, True, False)
    assert wants(SampledSoftmax(negatives="given")) == ("given", 0, False, False, False)
    assert wants(FullSoftmax()) == ("uniform", None, False, True, False)
    assert wants(AlphaEntmax(draws=7)) == ("uniform", 7, True, True, False)
    assert wants(AlphaEntmax(negatives="given")) == ("given", 0, False, False, False)
    assert AlphaEntmax(ips=0.1).ips == 0.1
    assert wants(InfoNCE()) == ("in_batch", 0, True, False, False)
    assert wants(BPR(draws=9)) == ("uniform", 9, False, False, False)
    assert wants(BPR(negatives="in_batch")) == ("in_batch", 0, True, False, False)
    assert wants(BinaryCrossEntropy(draws=9)) == ("uniform", 9, False, False, True)
    assert wants(BinaryCrossEntropy(negatives="in_batch")) == ("in_batch", 0, True, False, True)
    assert {loss.ips for loss in (SampledSoftmax(ips=0.1), FullSoftmax(ips=0.1), BPR(ips=0.1))} == {
        0.1
    }
    assert InfoNCE(ips=0.1).ips == BinaryCrossEntropy(ips=0.1).ips == 0.1
