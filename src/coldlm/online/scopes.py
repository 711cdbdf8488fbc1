"""Scopes: which of the parameters that an update may move it does move.

A function (names, number of the version to be, from 1) -> those of them; what an update cannot move costs it
nothing: vectors of texts under an encoder that stands still are kept. Adapters that wait for the
stream (``strategy.stream_adapters``) are moved by the scopes that are made for them alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from coldlm.models.parts.deltas import NEW
from coldlm.models.parts.stream_adapters import adapter_number

ENCODER, HEAD = "encoder.", "head."
CONTEXT = "head.fusion."
NEW_ITEMS = f"{HEAD}{NEW}"


def everything(names: Sequence[str], number: int) -> list[str]:
    """Return all that training before the stream moved."""
    return [name for name in names if not adapter_number(name)]


def head(names: Sequence[str], number: int) -> list[str]:
    """Return the head's: the language model stands still."""
    return [name for name in names if name.startswith(HEAD)]


def context(names: Sequence[str], number: int) -> list[str]:
    """Return those that weigh counts, recency and age: nothing that reads a text moves."""
    return [name for name in names if name.startswith(CONTEXT)]


def new_items(names: Sequence[str], number: int) -> list[str]:
    """Return the learned vectors (``head.delta``) of items that were new at T_test: nothing of what is
    known of others moves."""
    return [name for name in names if name == NEW_ITEMS]


def adapter(names: Sequence[str], number: int) -> list[str]:
    """Return the language model's: what the strategy trains of it, under a head that stands
    still."""
    return [name for name in everything(names, number) if name.startswith(ENCODER)]


def reset_to_trained(names: Sequence[str], number: int) -> list[str]:
    """Return everything; every update starts from the weights at T_test, so that what was learned in
    the stream is of its own data alone: a long-term model that stands, and a short-term one anew
    each time."""
    return everything(names, number)


def short_adapter(names: Sequence[str], number: int) -> list[str]:
    """Return the first adapter that waited, and the head; both start every update from where they
    were at T_test, the adapter from nothing, while the long-term adapter stands (LSAT: Shi et al.
    2023, section 4: two adapters, whose outputs are added)."""
    return _with_head(names, 1)


def next_adapter(names: Sequence[str], number: int) -> list[str]:
    """Return the adapter that waited for this update, and the head: the adapters of earlier updates
    stand, and all are added up (the cumulative adapters that PESO, 2510.25093, is set against). When
    no more are waiting the last one goes on."""
    return _with_head(names, min(number, max(map(adapter_number, names), default=0)))


def reset_to_base(names: Sequence[str], number: int) -> list[str]:
    """Return everything; every update starts from the weights before any training, as training
    before the stream did."""
    return everything(names, number)


def _with_head(names: Sequence[str], number: int) -> list[str]:
    return [n for n in names if n.startswith(HEAD) or 0 < adapter_number(n) == number]
