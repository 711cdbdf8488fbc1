"""A schedule: train anew after every third window, and on the window alone after the others."""

from __future__ import annotations

from coldlm.learn.fit import Fitted
from coldlm.online.schedules import Work

EVERY = 3


def third_anew(work: Work, window: int) -> Fitted:
    """What happens between ``window``, counted from 0, which has been scored, and the next."""
    if (window + 1) % EVERY:
        return work.fit_window(window)
    return work.fit_anew(window)
