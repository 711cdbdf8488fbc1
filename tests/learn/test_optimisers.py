"""Which parameter gets which rate and decay."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from coldlm.learn.optimisers import adamw, groups, rate, sgd


def _named() -> list[tuple[str, nn.Parameter]]:
    named = {
        "head.project.weight": torch.ones(2, 2),
        "head.project.bias": torch.ones(2),
        "head.scale": torch.ones(()),
        "encoder.layer.weight": torch.ones(2, 2),
        "encoder.norm.weight": torch.ones(2),
        "encoder.embedding.weight": torch.ones(2, 2),
    }
    out = [(name, nn.Parameter(value)) for name, value in named.items()]
    out[-1][1].requires_grad_(False)
    return out


def _of(
    made: list[dict[str, object]], named: list[tuple[str, nn.Parameter]]
) -> dict[str, tuple[float, float]]:
    """name -> (rate, decay)."""
    names = {id(p): name for name, p in named}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in made for p in g["params"]}  # type: ignore[attr-defined]


def test_vectors_have_no_decay_the_body_its_own_rate_and_what_is_frozen_no_group() -> None:
    named = _named()
    assert _of(groups(named, 1e-3, 1e-5, 0.1), named) == {
        "head.project.weight": (1e-3, 0.1),
        "head.project.bias": (1e-3, 0.0),
        "head.scale": (1e-3, 0.0),
        "encoder.layer.weight": (1e-5, 0.1),
        "encoder.norm.weight": (1e-5, 0.0),
    }


def test_there_is_no_empty_group() -> None:
    assert len(groups(_named()[:1], 1e-3, 1e-5, 0.1)) == 1


@pytest.mark.parametrize("make", [adamw, sgd])
def test_keys_reach_the_groups(make: object) -> None:
    named = _named()
    optimiser = make(named, lr=0.5, body_lr=0.25, weight_decay=0.125)  # type: ignore[operator]
    assert _of(optimiser.param_groups, named)["head.project.weight"] == (0.5, 0.125)
    assert _of(optimiser.param_groups, named)["encoder.layer.weight"] == (0.25, 0.125)


def test_betas_and_momentum_reach_the_optimiser() -> None:
    assert {g["betas"] for g in adamw(_named(), betas=(0.5, 0.75)).param_groups} == {(0.5, 0.75)}
    assert {g["momentum"] for g in sgd(_named(), momentum=0.3).param_groups} == {0.3}


def _walk(momentum: float) -> list[float]:
    """A scale at 1, moved twice by a gradient of 1 at rate 0.1."""
    named = [("head.scale", nn.Parameter(torch.ones(())))]
    optimiser, seen = sgd(named, lr=0.1, momentum=momentum), []
    for _ in range(2):
        named[0][1].grad = torch.ones(())
        optimiser.step()
        seen.append(round(float(named[0][1].detach()), 6))
    return seen


def test_momentum_carries_the_last_step_on() -> None:
    assert _walk(0.0) == [0.9, 0.8]
    assert _walk(0.5) == [0.9, 0.75]


def test_decay_shrinks_matrices_and_leaves_vectors() -> None:
    named = _named()
    for _, p in named:
        p.grad = torch.zeros_like(p)
    adamw(named, lr=0.1, weight_decay=0.5).step()
    assert named[0][1].flatten().tolist() == pytest.approx([0.95] * 4)
    assert named[1][1].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("warm_up", "expected"), [(0, [1, 1, 1]), (1, [1, 1, 1]), (4, [0.25, 0.5, 0.75, 1, 1])]
)
def test_the_rate_rises_linearly_and_stays(warm_up: int, expected: list[float]) -> None:
    factor = rate("constant", warm_up, 100)
    assert [factor(step) for step in range(len(expected))] == expected


def test_the_rate_falls_to_nothing_over_what_is_left_of_the_steps() -> None:
    linear, cosine = rate("linear", 2, 6), rate("cosine", 2, 6)
    assert [linear(step) for step in range(7)] == [0.5, 1, 1, 0.75, 0.5, 0.25, 0]
    half = math.sqrt(0.5)
    assert [cosine(step) for step in range(7)] == pytest.approx(
        [0.5, 1, 1, (1 + half) / 2, 0.5, (1 - half) / 2, 0]
    )
    # the only step, and none left behind the warm-up
    assert rate("linear", 0, 1)(0) == rate("cosine", 3, 3)(3) == 1


def test_adamw_is_the_published_update() -> None:
    """Loshchilov and Hutter 2019, algorithm 2, in float64."""
    draw = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(3, 4, generator=draw))
    optimiser = adamw([("head.weight", weight)], lr=0.1, weight_decay=0.2, betas=(0.8, 0.9))
    expected, m, v = weight.detach().double(), torch.zeros(3, 4), torch.zeros(3, 4)
    for step in range(1, 6):
        weight.grad = torch.randn(3, 4, generator=draw)
        gradient = weight.grad.double()
        m, v = 0.8 * m + 0.2 * gradient, 0.9 * v + 0.1 * gradient**2
        adapted = (m / (1 - 0.8**step)) / ((v / (1 - 0.9**step)).sqrt() + 1e-8)
        expected = expected - 0.1 * 0.2 * expected - 0.1 * adapted
        optimiser.step()
    torch.testing.assert_close(weight.detach().double(), expected, rtol=1e-5, atol=1e-6)
