"""Popularity of the last days."""

from __future__ import annotations

import numpy as np
import torch

from coldlm.core.tables import DAY
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.known import Known


def popularity_days(known: Known, days: float) -> ScoreFunction:
    """Return the positives of the last ``days`` before each time: n_i(t) - n_i(t - days) (Ji et al.
    2020, "A re-visit of the popularity baseline in recommender systems", section 3)."""
    counts = known.as_of.counts
    return lambda users, times: torch.from_numpy(
        np.maximum(counts(times) - counts(times - round(days * DAY)), 0)
    )
