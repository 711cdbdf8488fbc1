"""A baseline: a function (data, as_of, catalogue) -> scores. Shapes: Q queries, N items."""

from __future__ import annotations

import numpy as np
import torch

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.tables import Dataset
from coldlm.evaluate.judge import ScoreFunction


def oldest(data: Dataset, as_of: AsOf, catalogue: Catalogue) -> ScoreFunction:
    """Earliest entry first: what a catalogue without any ranking shows.

    Items that have not entered at the time of the query tie at the end, since when they will is not
    known then.
    """
    order = np.unique(catalogue.enters_at, return_inverse=True)[1].astype(np.float32)
    last = np.float32(len(order))
    return lambda users, times: (
        -torch.from_numpy(np.where(catalogue.enters_at <= times[:, None], order, last))
    )
