"""Scopes: which of the parameters that the strategy and the head train an update may move.

A function (names) -> those of them; what an update cannot move costs it nothing: vectors of texts
under an encoder that stands still are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

ENCODER, HEAD = "encoder.", "head."
CONTEXT = "head.fusion."


def everything(names: Sequence[str]) -> list[str]:
    """Return all that training before the stream moved."""
    return list(names)


def head(names: Sequence[str]) -> list[str]:
    """Return the head's: the language model stands still."""
    return [name for name in names if name.startswith(HEAD)]


def context(names: Sequence[str]) -> list[str]:
    """Return those that weigh counts, recency and age: nothing that reads a text moves."""
    return [name for name in names if name.startswith(CONTEXT)]


def adapter(names: Sequence[str]) -> list[str]:
    """Return the language model's: what the strategy trains of it, under a head that stands
    still."""
    return [name for name in names if name.startswith(ENCODER)]


def reset_to_trained(names: Sequence[str]) -> list[str]:
    """Return everything; every update starts from the weights at T_test, so that what was learned in
    the stream is of its own data alone: a long-term model that stands, and a short-term one anew
    each time (LSAT: Shi et al. 2023, section 4, whose two adapters are one here: the long-term
    weights, and what a recent window adds to them)."""
    return list(names)


def reset_to_base(names: Sequence[str]) -> list[str]:
    """Return everything; every update starts from the weights before any training, as training
    before the stream did."""
    return list(names)
