"""The control that asks whether language matters: the same texts, but on the wrong items."""

from __future__ import annotations

from coldlm.seeding import generator
from coldlm.tables import Dataset


def permute_texts(data: Dataset, seed: int) -> Dataset:
    """``data`` with the texts moved among the items along one random cycle, so that with two items or more none keeps
    its own. Ids, display titles, release times and events stay; models read texts only."""
    order = generator(seed, "permute_texts").permutation(len(data.items))
    source = dict(zip(order.tolist(), [*order[1:].tolist(), int(order[0])], strict=True))
    return data.with_texts(tuple(data.items.texts[source[i]] for i in range(len(data.items))))
