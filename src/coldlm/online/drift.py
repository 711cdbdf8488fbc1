"""The trigger on drift: a detector of river watches the prequential loss."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from coldlm.core.columns import Count, Range
from coldlm.core.seeding import derive
from coldlm.online.moment import Moment


class OnDrift:
    """When a detector says that the prequential loss has changed, and ``n`` events have become
    visible since the last update.

    It is told the loss of a positive when the positive is visible, after its label's delay, and no
    earlier. An update starts it anew: the loss of another version is another series, which, where
    labels or updates are late, begins with the last losses of the version before.

    Args:
        detector: adwin (Bifet and Gavalda 2007), page_hinkley (Page 1954), or kswin (Raab et al.
            2020).
        sensitivity: ADWIN's delta and KSWIN's alpha, the chance of an alarm without drift;
            Page-Hinkley's threshold is -ln of it, in standard deviations of a loss in [0, 1].
    """

    def __init__(
        self,
        *,
        detector: Literal["adwin", "page_hinkley", "kswin"] = "adwin",
        sensitivity: Annotated[float, Range(0, 1, above=True)] = 0.002,
        n: Count = 50,
    ) -> None:
        self._made_of, self._n = (detector, sensitivity), n
        self._detector, self._alarm = _detector(*self._made_of), False

    def ask(self, now: Moment) -> str:
        """Return what the detector saw."""
        for loss in now.losses().tolist():
            self._detector.update(loss)
            self._alarm |= self._detector.drift_detected
        if not self._alarm or now.new < self._n:
            return ""
        self._detector, self._alarm = _detector(*self._made_of), False
        return "drift of the prequential loss"


def _detector(name: str, sensitivity: float) -> Any:
    from river import drift

    detectors: Any = drift  # some of them have no types
    if name == "adwin":
        return detectors.ADWIN(delta=sensitivity)
    if name == "kswin":
        return detectors.KSWIN(alpha=sensitivity, seed=derive(0, "kswin") % 2**32)
    return detectors.PageHinkley(mode="up", threshold=-math.log(sensitivity))
