"""A schedule: a function (work, window) -> what training did, called when a window has been
scored."""

from __future__ import annotations

from coldlm.learn.fit import Fitted
from coldlm.online.schedules import Work


def every_other_window(work: Work, window: int) -> Fitted:
    """Fine-tune on what was scored in the windows 0, 2, 4, ...; behind the others the weights stay
    as they are."""
    return Fitted() if window % 2 else work.fit_window(window)
