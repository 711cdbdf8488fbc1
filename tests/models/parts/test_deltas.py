"""Learned vectors of items beside their texts: zero at first, within their ball, apart for new ones."""

from __future__ import annotations

import torch

from coldlm.models.parts.deltas import Deltas

IS_NEW = torch.tensor([False, True, True, False, False])
BOUND = 2.0


def _deltas() -> Deltas:
    """Rows of length 5 for items 0 and 1, of length 1 for the others."""
    deltas = Deltas(IS_NEW, 2, BOUND)
    with torch.no_grad():
        deltas.old.copy_(torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 1.0]]))
        deltas.new.copy_(torch.tensor([[-3.0, -4.0], [-1.0, 0.0]]))
    return deltas


def test_they_begin_at_nothing_with_a_gradient_that_is_a_number() -> None:
    deltas = Deltas(IS_NEW, 2, BOUND)
    found = deltas(torch.tensor([4, 0, 1]))
    assert torch.equal(found, torch.zeros(3, 2))
    found.sum().backward()
    for p in deltas.parameters():
        assert torch.isfinite(p.grad).all()
    assert deltas.old.grad.tolist() == [[1, 1], [0, 0], [1, 1]]
    assert deltas.new.grad.tolist() == [[1, 1], [0, 0]]


def test_every_item_has_its_own_and_none_is_longer_than_the_bound() -> None:
    expected = torch.tensor([[1.2, 1.6], [-1.2, -1.6], [-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    deltas = _deltas()
    torch.testing.assert_close(deltas(torch.arange(5)), expected)
    torch.testing.assert_close(deltas(torch.tensor([3, 1, 1])), expected[[3, 1, 1]])
    assert torch.equal(deltas(torch.arange(2, 5)), expected[2:])  # to the bit inside the ball


def test_what_draws_a_long_one_further_out_has_no_effect() -> None:
    deltas = _deltas()
    (deltas(torch.tensor([0])) * torch.tensor([3.0, 4.0])).sum().backward()
    torch.testing.assert_close(deltas.old.grad, torch.zeros(3, 2))
