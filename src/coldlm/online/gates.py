"""Gates: whether an updated model goes live, or is rolled back.

A gate is a function (Outcome) -> why it is rolled back, "" if it goes live.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from coldlm.core.columns import Range


@dataclass(frozen=True)
class Outcome:
    """What an update did. ``loss_before``, ``loss_after``: on a batch of what it learned from, NaN
    where there is none. ``probe_before``, ``probe_after``: nDCG on the probe of past events that
    nothing trains on, NaN without one."""

    loss_before: float
    loss_after: float
    probe_before: float
    probe_after: float


class Always:
    """Whatever comes of it goes live; weights that are not finite end the run."""

    def __call__(self, outcome: Outcome) -> str:
        """Return ""."""
        return ""


class Finite:
    """Loss and weights must be finite."""

    def __call__(self, outcome: Outcome) -> str:
        """Return what is not."""
        is_spoilt = math.isfinite(outcome.loss_before) and not math.isfinite(outcome.loss_after)
        return "the loss is not finite" if is_spoilt else ""


class Probe:
    """Finite, and nDCG on the probe not lower than before by more than ``epsilon``."""

    def __init__(self, *, epsilon: Annotated[float, Range(0)] = 0.005) -> None:
        self._epsilon = epsilon

    def __call__(self, outcome: Outcome) -> str:
        """Return how far it fell."""
        if spoilt := Finite()(outcome):
            return spoilt
        fell = outcome.probe_before - outcome.probe_after
        return f"nDCG on the probe fell by {fell:.4f}" if fell > self._epsilon else ""
