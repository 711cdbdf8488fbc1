"""Schedules: functions (work, window) -> what training did, called when a window has been scored
and before the next.

The model changes in place; whatever a schedule does, it has only what ``work`` gives it: the past.
"""

from __future__ import annotations

from typing import Protocol

from coldlm.learn.fit import Fitted


class Work(Protocol):
    """What a schedule can do between two windows."""

    def fit_window(self, window: int) -> Fitted:
        """Train on with the events of one window."""
        ...

    def fit_anew(self, window: int) -> Fitted:
        """Train anew from the pre-trained weights, on all events up to the end of a window."""
        ...


def off(work: Work, window: int) -> Fitted:
    """Learn nothing: the weights stay as they were trained. The stage is passed over."""
    return Fitted()


def per_window(work: Work, window: int) -> Fitted:
    """Fine-tune on what was scored in the window."""
    return work.fit_window(window)


def retrain(work: Work, window: int) -> Fitted:
    """Train anew on all events so far: the control of all updates."""
    return work.fit_anew(window)
