"""A trigger and a data policy: every night, on a few events of each user."""

from __future__ import annotations

import numpy as np

from coldlm.core.columns import Count
from coldlm.core.tables import DAY, Ints
from coldlm.online.data import Past, Policy
from coldlm.online.moment import Moment


class AtNight:
    """At the first event behind midnight (UTC), if ``n`` events have come since the last update."""

    def __init__(self, *, n: Count = 100) -> None:
        self._n = n

    def ask(self, now: Moment) -> str:
        """Return the night, "" by day."""
        nights = now.time // DAY - now.updated_at // DAY
        return f"{nights} nights" if nights and now.new >= self._n else ""


class FewOfEach(Policy):
    """What is new, but of each user the latest ``n`` events alone."""

    def __init__(self, *, n: Count = 5) -> None:
        super().__init__()
        self._n = n

    def choose(self, past: Past) -> Ints:
        """Return those rows."""
        user = past.log.user[past.new]
        return np.sort(np.concatenate([past.new[user == u][-self._n :] for u in np.unique(user)]))
