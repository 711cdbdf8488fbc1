"""What is logged of a run stands against one of two axes, or is a headline, which has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

EPOCH: Final = "epoch"
"""Passes over the events that are trained on, of all trainings before the stream one after the
other, in thousandths at the finest."""

EVENTS: Final = "events"
"""Feedback events (positives) of the stream seen so far."""

AXES: Final[Mapping[str, tuple[str, ...]]] = {
    EPOCH: ("pretrain", "head", "train", "refit", "validation"),
    EVENTS: ("stream", "window", "update", "memory"),
}
"""Axis -> first parts of the keys that stand against it. The first parts of headlines are others."""

THOUSANDTHS: Final = 1000
"""Of an epoch: steps of loggers whose steps are whole numbers."""


def whole(axis: str, at: float) -> int:
    """Return a place on an axis as a whole number: thousandths of an epoch, or events.

    >>> whole(EPOCH, 1.5), whole(EVENTS, 300)
    (1500, 300)
    """
    return round(at * THOUSANDTHS) if axis == EPOCH else int(at)


class Tell(Protocol):
    """Takes the values of a training after so many epochs of it, fractions included."""

    def __call__(self, epochs: float, values: Mapping[str, float], /) -> None: ...
