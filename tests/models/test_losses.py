"""Losses against their formulas, in plain Python. Three events, four columns."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from coldlm.models.losses import BinaryCrossEntropy, FullSoftmax, SampledSoftmax

LOGITS = torch.tensor([[0.5, -1.0, 2.0, 0.0], [1.5, 0.2, -0.3, 0.7], [0.1, 0.2, 0.3, 0.4]])
POSITIVE = torch.tensor([2, 0, 1])
WEIGHT = torch.tensor([[1.0, 3.0, 0.0, 0.5], [0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
"""w_ij; the positive's own is 0, and the third event has no negative at all."""
ONES = torch.ones(3)


def _softmax(i: int) -> float:
    s = LOGITS[i].tolist()
    p = int(POSITIVE[i])
    rest = sum(w * math.exp(x) for j, (w, x) in enumerate(zip(WEIGHT[i].tolist(), s, strict=True)) if j != p)
    return -s[p] + math.log(math.exp(s[p]) + rest)


def test_softmax_is_its_formula() -> None:
    expected = torch.tensor([_softmax(i) for i in range(3)])
    torch.testing.assert_close(SampledSoftmax()(LOGITS, WEIGHT.log(), POSITIVE, ONES), expected)
    torch.testing.assert_close(FullSoftmax()(LOGITS, WEIGHT.log(), POSITIVE, ONES), expected)


def test_softmax_of_all_columns_is_plain_cross_entropy() -> None:
    got = FullSoftmax()(LOGITS, torch.zeros(3, 4), POSITIVE, ONES)
    torch.testing.assert_close(got, F.cross_entropy(LOGITS, POSITIVE, reduction="none"))


def test_softmax_without_any_negative_is_zero() -> None:
    assert float(SampledSoftmax()(LOGITS, WEIGHT.log(), POSITIVE, ONES)[2]) == 0


@pytest.mark.parametrize("loss", [SampledSoftmax(), FullSoftmax(), BinaryCrossEntropy()])
@pytest.mark.parametrize("own", [-math.inf, 0.0, 5.0])
def test_the_positives_own_weight_is_never_looked_at(loss: SampledSoftmax | BinaryCrossEntropy, own: float) -> None:
    log_weight = WEIGHT.log().scatter(1, POSITIVE[:, None], own)
    assert torch.equal(loss(LOGITS, log_weight, POSITIVE, ONES), loss(LOGITS, WEIGHT.log(), POSITIVE, ONES))


@pytest.mark.parametrize("loss", [SampledSoftmax(), FullSoftmax(), BinaryCrossEntropy()])
def test_masked_columns_get_no_gradient_and_the_others_a_finite_one(loss: SampledSoftmax | BinaryCrossEntropy) -> None:
    logits = LOGITS.clone().requires_grad_()
    loss(logits, WEIGHT.log(), POSITIVE, ONES).sum().backward()
    masked = (WEIGHT == 0).scatter(1, POSITIVE[:, None], False)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[masked] == 0).all()
    assert (logits.grad[~masked & (WEIGHT.sum(1) > 0)[:, None]] != 0).all()


def _binary(i: int, label: float) -> float:
    s = LOGITS[i].tolist()
    p = int(POSITIVE[i])
    own = -label * math.log(1 / (1 + math.exp(-s[p]))) - (1 - label) * math.log(1 / (1 + math.exp(s[p])))
    if not label:
        return own
    drawn = [
        w * math.log(1 + math.exp(x)) for j, (w, x) in enumerate(zip(WEIGHT[i].tolist(), s, strict=True)) if j != p
    ]
    return (own + sum(drawn)) / (1 + float(WEIGHT[i].sum()))


def test_binary_cross_entropy_is_its_formula_with_draws_for_positives_only() -> None:
    label = torch.tensor([1.0, 0.0, 1.0])
    expected = torch.tensor([_binary(i, float(label[i])) for i in range(3)])
    torch.testing.assert_close(BinaryCrossEntropy()(LOGITS, WEIGHT.log(), POSITIVE, label), expected)


def test_each_loss_says_what_it_wants_of_the_sampler() -> None:
    def wants(loss: SampledSoftmax | BinaryCrossEntropy) -> tuple[int | None, bool, bool, bool]:
        return loss.draws, loss.in_batch, loss.corrected, loss.explicit_negatives

    assert wants(SampledSoftmax(uniform=7)) == (7, True, True, False)
    assert wants(FullSoftmax()) == (None, False, True, False)
    assert wants(BinaryCrossEntropy(negatives=9)) == (9, False, False, True)
