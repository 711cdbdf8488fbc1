"""A trigger: asked before every second of the stream, it sees what is visible then, and answers with
its reason to update the weights, or with "" to let them stand."""

from __future__ import annotations

from coldlm.core.columns import Count
from coldlm.online.moment import Moment


class EveryOtherWindow:
    """When ``n`` windows of the stream are over since the last update."""

    def __init__(self, *, n: Count = 2) -> None:
        self._n = n

    def ask(self, now: Moment) -> str:
        """Return how many are over."""
        over = now.window - now.updated_in
        return f"{over} windows are over" if over >= self._n else ""
