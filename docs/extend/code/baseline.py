"""A baseline: what was taken most often in the last days."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coldlm.asof.context import AsOf
from coldlm.core.tables import DAY, Ints
from coldlm.evaluate.judge import ScoreFunction


def last_days(as_of: AsOf, days: float) -> ScoreFunction:
    """Positives of each item in the ``days`` before the query; nothing at its own time or later is counted."""

    def score(users: Ints, times: Ints) -> Tensor:
        """[Q, N] float32 for users [Q] at times [Q]."""
        before = times - int(days * DAY)
        return torch.from_numpy(as_of.counts(times) - as_of.counts(before).astype(np.float32))

    return score
