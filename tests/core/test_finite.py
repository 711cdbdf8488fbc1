"""Numbers that are finite, told by their sum where that is enough."""

from __future__ import annotations

import pytest
import torch

from coldlm.core.finite import all_finite


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("beside", [0.0, float("inf"), float("-inf")])
def test_one_number_that_is_not_finite_is_found(bad: float, beside: float) -> None:
    assert not all_finite(torch.tensor([[1.0, bad], [beside, 2.0]]))


def test_numbers_whose_sum_overflows_are_finite() -> None:
    assert all_finite(torch.full((8,), 3e38))
    assert all_finite(torch.zeros(0))
