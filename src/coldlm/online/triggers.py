"""Triggers: when the weights are updated.

A trigger is asked before the queries of every second of the stream, and answers with its reason, or
with "" to let the weights stand. It sees a ``Moment`` and nothing else, so that it can only decide
from what is visible by then. While an update is on its way (``online.latency_seconds``) nobody is
asked. What drift is lies in ``drift.py``.
"""

from __future__ import annotations

from typing import Protocol

from coldlm.core.columns import Above0, Count
from coldlm.core.tables import DAY
from coldlm.online.moment import Moment


class Trigger(Protocol):
    """What the loop asks."""

    def ask(self, now: Moment) -> str:
        """Return why the weights are to be updated now, "" if they are not."""
        ...


class Never:
    """The weights stay as they were trained."""

    def ask(self, now: Moment) -> str:
        """Return ""."""
        return ""


class Off(Never):
    """As never, and the stage is passed over: there is nothing to see in it."""


class EveryWindow:
    """When a window of the stream is over and the next begins."""

    def ask(self, now: Moment) -> str:
        """Return the window that is over."""
        return f"window {now.window - 1} is over" if now.window > now.updated_in else ""


class EveryN:
    """When ``n`` events, of any label, have become visible since the last update."""

    def __init__(self, *, n: Count = 500) -> None:
        self._n = n

    def ask(self, now: Moment) -> str:
        """Return how many there are."""
        return f"{now.new} events" if now.new >= self._n else ""


class Every:
    """When so many ``days`` of the stream (0.5: twelve hours) have passed since the last update."""

    def __init__(self, *, days: Above0 = 1.0) -> None:
        self._seconds = days * DAY

    def ask(self, now: Moment) -> str:
        """Return how long it was."""
        return f"{now.waited / DAY:.2f} days" if now.waited >= self._seconds else ""


class OnNewItems:
    """When ``n`` items have had their first visible event since the last update."""

    def __init__(self, *, n: Count = 50) -> None:
        self._n = n

    def ask(self, now: Moment) -> str:
        """Return how many there are."""
        new = now.met - now.met_then
        return f"{new} new items" if new >= self._n else ""


class Budget:
    """As often as a budget allows: at most ``updates_per_day``, or at most ``seconds_per_day`` of
    computing, within any 24 hours of the stream; each when ``n`` events have become visible since
    the last (Verachtert, Jeunen and Goethals 2023: a schedule by information, under a budget).

    Seconds are those of this machine: a budget in seconds is not the same run twice.
    """

    def __init__(
        self,
        *,
        n: Count = 100,
        updates_per_day: Above0 | None = 4.0,
        seconds_per_day: Above0 | None = None,
    ) -> None:
        self._n, self._updates, self._seconds = n, updates_per_day, seconds_per_day

    def ask(self, now: Moment) -> str:
        """Return how many events there are, if another update is within the budget."""
        if now.new < self._n:
            return ""
        # fewer than one update a day is one within so many days
        days = 1.0 if self._updates is None else max(1.0, 1 / self._updates)
        spent = [s for begun, s in reversed(now.updates) if begun > now.time - days * DAY]
        if self._updates is not None and len(spent) + 1 > self._updates * days:
            return ""
        if self._seconds is not None and sum(spent) >= self._seconds * days:
            return ""
        return f"{now.new} events, {len(spent) + 1} updates within {days:g} days"


class AnyOf:
    """When any of these is so: ``n`` events, ``days``, ``new_items`` since the last update; null:
    not asked."""

    def __init__(
        self,
        *,
        n: Count | None = 2000,
        days: Above0 | None = 7.0,
        new_items: Count | None = 100,
    ) -> None:
        self._triggers: list[Trigger] = []
        self._triggers += [] if n is None else [EveryN(n=n)]
        self._triggers += [] if days is None else [Every(days=days)]
        self._triggers += [] if new_items is None else [OnNewItems(n=new_items)]

    def ask(self, now: Moment) -> str:
        """Return the reasons of all that fire."""
        return ", ".join(filter(None, (trigger.ask(now) for trigger in self._triggers)))
