"""Data policies: which of the visible events an update learns from.

A policy is asked once per update, when it is fired, and sees what is visible then. Rows are row
numbers of the log, which is in time order; those that nothing trains on (the probe, events that
cannot be asked for) are taken out afterwards. The buffers of ``replay.py`` are policies too.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from coldlm.core.columns import Count
from coldlm.core.seeding import generator
from coldlm.core.tables import Floats, Ints, Log


@dataclass(frozen=True)
class Past:
    """What there is to choose from. ``log``: of which the first ``visible`` rows may be looked at,
    but by the oracle; ``learned``: rows that were visible when the last update was fired.
    ``number``: of the update, from 1. ``seed``: of the run. ``coming``: rows that the updated
    weights will be asked for, which only the oracle may see. ``users``: rows [E] -> [E, W] vectors
    of their users as of their times under the live weights, for a buffer that looks at them."""

    log: Log
    learned: int
    visible: int
    number: int
    seed: int
    coming: Callable[[], Ints]
    users: Callable[[Ints], Floats]

    @property
    def new(self) -> Ints:
        """Return the rows that have become visible since the last update was fired."""
        return np.arange(self.learned, self.visible)


class Policy:
    """A choice of what to learn from. A policy with a memory has it in ``memory``, by name, and
    keeps it up to date whenever it is asked."""

    def __init__(self) -> None:
        self.memory: dict[str, Ints] = {}

    @abstractmethod
    def choose(self, past: Past) -> Ints:
        """Return the rows to learn from, ascending."""


class NewOnly(Policy):
    """What has become visible since the last update was fired."""

    def choose(self, past: Past) -> Ints:
        """Return those rows."""
        return past.new


class Window(Policy):
    """The last ``n`` visible events, learned from before or not."""

    def __init__(self, *, n: Count = 2000) -> None:
        super().__init__()
        self._n = n

    def choose(self, past: Past) -> Ints:
        """Return those rows."""
        first = max(0, past.visible - self._n)
        return np.arange(first, past.visible)


class Cumulative(Policy):
    """Everything that is visible, from the first event of the log on."""

    def choose(self, past: Past) -> Ints:
        """Return those rows."""
        return np.arange(past.visible)


class Shuffled(Policy):
    """A control: as many events as are new, drawn at random from everything that is visible. Where
    it is as good as the new ones, updating is learning more, not following a drift."""

    def choose(self, past: Past) -> Ints:
        """Return those rows."""
        draw = generator(past.seed, "shuffled", past.number)
        return np.sort(draw.choice(past.visible, len(past.new), replace=False)).astype(np.int64)


class Oracle(Policy):
    """A control that cheats: what the updated weights will be asked for, before they are. No
    schedule can know it; what it reaches is what one update could be worth."""

    def choose(self, past: Past) -> Ints:
        """Return the rows that come until the next update."""
        return past.coming()
