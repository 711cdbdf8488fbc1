"""The control that asks whether language matters: the same texts, but on the wrong items."""

from __future__ import annotations

import numpy as np

from coldlm.core.seeding import generator
from coldlm.core.tables import Dataset


def permute_texts(data: Dataset, seed: int) -> Dataset:
    """Return ``data`` with the texts moved among the items along one random cycle, so that with two
    items or more none keeps its own. Ids, display titles, release times and events stay; models
    read texts only."""
    order = generator(seed, "permute_texts").permutation(len(data.items))
    source = np.empty_like(order)
    source[order] = np.roll(order, -1)
    return data.with_permuted_texts(source)
