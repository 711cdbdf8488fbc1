"""The controls that ask whether language matters: the same texts, but on the wrong items.

Each returns [N] whose text each item reads. Ids, display titles, release times and events stay;
models read texts only.
"""

from __future__ import annotations

import numpy as np

from coldlm.core.seeding import generator
from coldlm.core.tables import Ints

COHORT = 100
"""Items that enter one after the other and make up a cohort, where they do not enter at once."""


def anywhere(n: int, seed: int) -> Ints:
    """Move the texts among all items along one random cycle, so that with two items or more none
    keeps its own. A text may be read before its own item enters."""
    order = generator(seed, "permute_texts").permutation(n)
    source = np.empty_like(order)
    source[order] = np.roll(order, -1)
    return source


def within_cohorts(meets_at: Ints, first_query: int, seed: int) -> Ints:
    """Move the texts among items that enter at about the same time, so that what a time writes about
    stays with it, and no text is read before it could be.

    What entered before the first query that is asked is cut, in order of entry, into cohorts of
    about ``COHORT``, each permuted along a random cycle; later, so is what enters at one moment.
    Who enters alone reads the text of one of the ``COHORT`` that entered before it, in random order:
    there is nobody else whose text is known. Only where nobody is, an item keeps its own.

    Args:
        meets_at: [N] the first second at which a query may meet each item.
        first_query: of validation or stream, seconds.
    """
    key = generator(seed, "texts within cohorts").permutation(len(meets_at))
    order = np.lexsort((key, meets_at))
    known = int(np.searchsorted(meets_at[order], first_query))
    moments = (
        np.flatnonzero(np.diff(meets_at[order[known:]], prepend=np.iinfo(np.int64).min)) + known
    )
    past = np.array_split(order[:known], max(1, known // COHORT))
    source, waiting = np.arange(len(order)), list[int]()
    place = np.argsort(order)
    for cohort in (*past, *np.split(order, moments)[1:]):
        if len(cohort) != 1:
            shuffled = cohort[np.argsort(key[cohort])]
            source[shuffled] = np.roll(shuffled, -1)
        elif (at := place[cohort[0]]) > 0:
            if not waiting:
                before = order[max(0, at - COHORT) : at]
                waiting = before[np.argsort(key[before])].tolist()
            source[cohort] = waiting.pop()
    return source
