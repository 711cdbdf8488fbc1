"""Which parameters an update may move, and whether it goes live."""

from __future__ import annotations

import math

import pytest

from coldlm.online import scopes
from coldlm.online.gates import Always, Finite, Outcome, Probe

NAMES = (
    "encoder.body.layer.1.weight",
    "encoder.body.query.lora_A.default.weight",
    "head.fusion.hidden.weight",
    "head.to_user.weight",
    "head.unknown",
)

NAN = math.nan


def test_scopes_name_their_parameters_in_order() -> None:
    assert scopes.everything(NAMES, 1) == list(NAMES)
    assert scopes.reset_to_base(NAMES, 1) == scopes.reset_to_trained(NAMES, 1) == list(NAMES)
    assert scopes.head(NAMES, 1) == list(NAMES[2:])
    assert scopes.context(NAMES, 1) == [NAMES[2]]
    assert scopes.adapter(NAMES, 1) == list(NAMES[:2])
    vectors = ("head.deltas.old", "head.deltas.new")
    assert scopes.new_items((*NAMES, *vectors), 1) == ["head.deltas.new"]


def test_adapters_that_wait_are_moved_by_their_own_scopes_alone() -> None:
    waiting = [NAMES[1].replace("default", f"stream{number}") for number in (1, 2)]
    names, own_head = (*NAMES[:2], *waiting, *NAMES[2:]), list(NAMES[2:])
    for scope in ("everything", "adapter", "head", "reset_to_base", "reset_to_trained"):
        assert set(getattr(scopes, scope)(names, 1)) == set(getattr(scopes, scope)(NAMES, 1))
    assert scopes.short_adapter(names, 2) == [waiting[0], *own_head]
    assert [scopes.next_adapter(names, number) for number in (1, 2, 3)] == [
        [waiting[0], *own_head], [waiting[1], *own_head], [waiting[1], *own_head],
    ]  # fmt: skip


def test_always_lets_everything_through() -> None:
    assert Always()(Outcome(1.0, NAN, 0.5, 0.0)) == ""


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (1.0, 2.0, ""),
        (1.0, NAN, "the loss is not finite"),
        (1.0, math.inf, "the loss is not finite"),
        (NAN, NAN, ""),  # there was nothing to learn from
    ],
)
def test_finite_asks_for_the_loss(before: float, after: float, why: str) -> None:
    assert Finite()(Outcome(before, after, NAN, NAN)) == why
    assert Probe()(Outcome(before, after, NAN, NAN)) == why


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (0.50, 0.50, ""),
        (0.50, 0.49, ""),
        (0.50, 0.47, "nDCG on the probe fell by 0.0300"),
        (0.50, 0.90, ""),
        (NAN, NAN, ""),  # nothing is on it
    ],
)
def test_the_probe_may_fall_by_epsilon(before: float, after: float, why: str) -> None:
    assert Probe(epsilon=0.02)(Outcome(1.0, 1.0, before, after)) == why
