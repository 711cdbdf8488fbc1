"""The controls that ask whether language matters: the same texts, but on the wrong items, or on the
wrong searches.

``anywhere`` and ``within_cohorts`` return [N] whose text each item reads. Ids, display titles, release
times and events stay; models read texts only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from coldlm.core.seeding import generator
from coldlm.core.tables import DAY, Dataset, Ints, Parts

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


def with_queries_permuted(data: Dataset, part: Parts, seed: int) -> Dataset:
    """Return ``data`` in which every search reads the text of another search of its day (UTC) and part
    of the split, along a random cycle: what is typed is typed as often, on the same days, by and for
    the wrong people.

    A search is a block of one user, second and text: its events stay together, and are told from
    those of others by the text that it had, so that the same is asked. A day with a single search is
    taken together with the next of its part, the last with the one before. Only where a part holds one
    search alone, it keeps its text.

    Args:
        part: [E] see ``Split``.
    """
    log, users = data.log, data.users
    assert log.query is not None
    rows = np.flatnonzero(log.query >= 0)
    typed = log.query[rows]
    columns = np.stack([part[rows], log.time[rows], log.user[rows], typed])
    blocks, block = np.unique(columns, axis=1, return_inverse=True)
    source = np.arange(blocks.shape[1])
    rng = generator(seed, "permute_queries")
    for group in _days(blocks[0], blocks[1] // DAY):
        cycle = rng.permutation(group)
        source[cycle] = np.roll(cycle, -1)
    # a text of its own for each pair of one that was typed and one that is read
    pairs, pair = np.unique(
        np.stack([typed, blocks[3][source][block]]), axis=1, return_inverse=True
    )
    query = np.full(len(log), -1)
    query[rows] = pair
    texts = tuple(users.queries[code] for code in pairs[1])
    return replace(data, log=replace(log, query=query), users=replace(users, queries=texts))


def _days(part: Parts, day: Ints) -> list[Ints]:
    """Places of blocks, which are sorted by part and day, in groups: those of a part and day, or of
    several days where one has a single block."""
    found: list[Ints] = []
    for own in np.split(np.arange(len(day)), np.flatnonzero(np.diff(part)) + 1):
        groups: list[Ints] = []
        for group in np.split(own, np.flatnonzero(np.diff(day[own])) + 1):
            if groups and len(groups[-1]) == 1:
                groups[-1] = np.concatenate([groups[-1], group])
            else:
                groups.append(group)
        if len(groups) > 1 and len(groups[-1]) == 1:
            last = groups.pop()
            groups[-1] = np.concatenate([groups[-1], last])
        found += groups
    return found
