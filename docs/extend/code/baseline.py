"""A baseline: what was taken most often in the last week."""

from __future__ import annotations

import torch
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.tables import DAY, Dataset, Ints
from coldlm.evaluate.judge import ScoreFunction


def last_week(data: Dataset, as_of: AsOf, catalogue: Catalogue) -> ScoreFunction:
    """Positives of each item in the seven days before the query; nothing at its own time or later
    is counted."""

    def score(users: Ints, times: Ints) -> Tensor:
        """[Q, N] float32 for users [Q] at times [Q]."""
        return torch.from_numpy(as_of.counts(times) - as_of.counts(times - 7 * DAY))

    return score
