"""Everybody is asked at once for all that was held back of them, as papers do that know no time.

```
per_user  user 0   t  t  v  t  S  t            drawn user by user, whenever it happened
          user 1         t  S     t  v

asked     user 0   t  t     t     t  |  v  |  S    what is held back moves behind all training: validation to one
          user 1         t        t  |  v  |  S    second, the stream to the next, a query per user in each
```

**LEAKY**: weights learn from events later than those that they are asked for. Histories and counts
hold training alone at validation, training and validation in the stream; the candidates are all
items less those, since papers of this kind take every item to be there from the start.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np

from coldlm.core.columns import Range
from coldlm.core.seeding import generator
from coldlm.core.tables import ALWAYS, STREAM, TRAIN, VALIDATION, Dataset, Log, Split
from coldlm.split.cuts import PartShare, leaky


def per_user(
    log: Log,
    starts_at: int = ALWAYS,
    *,
    validation: PartShare = 0.1,
    test: PartShare = 0.1,
    seed: Annotated[int, Range(0)] = 0,
) -> Split:
    """LEAKY: of each user's events shares are drawn at random, rounded down, and asked for at once;
    the rest trains (RecBole's ``RS`` with ``group_by: user``).

    Args:
        seed: of the draw; not the run's, so that several seeds of a model answer the same queries.

    Raises:
        DataError: a part would be empty.

    >>> from coldlm.core.tables import sorted_log
    >>> one = np.ones(10)
    >>> log = sorted_log(np.arange(10) % 2, np.arange(10), np.arange(10), one, one > 0)
    >>> per_user(log, validation=0.2, test=0.4).part.tolist()
    [2, 1, 0, 0, 1, 0, 2, 2, 0, 2]
    """
    rows = np.flatnonzero(log.time >= starts_at)
    rows = rows[generator(seed, "split per user").permutation(len(rows))]
    rows = rows[np.argsort(log.user[rows], kind="stable")]
    sizes = np.bincount(log.user[rows])[log.user[rows]]
    begins = np.searchsorted(log.user[rows], log.user[rows])
    place = np.arange(len(rows)) - begins
    # rounded first, since .1 x 30 is a little less than 3
    stream, held = ((sizes * share).round(6).astype(np.int64) for share in (test, validation))
    part = np.zeros(len(log), np.int8)
    part[rows[place < stream + held]] = VALIDATION
    part[rows[place < stream]] = STREAM
    return replace(leaky("per_user", log, part), at_once=True)


def move(data: Dataset, split: Split) -> tuple[Dataset, Split]:
    """Return both with validation in the second behind the log's last and the stream in the one behind
    that, and every item released by the first event."""
    log = data.log
    first, last = int(log.time[0]), int(log.time[-1])
    t_val, t_test = last + 1, last + 2
    times = np.select([split.part == VALIDATION, split.part == STREAM], [t_val, t_test], log.time)
    order = np.lexsort((log.event_id, times))
    log = replace(log.rows(order), time=times[order])
    moved = {"given a time of their own: asked at once": int((split.part != TRAIN).sum())}
    items = replace(data.items, released_at=np.minimum(data.items.released_at, first))
    return (
        replace(data, log=log, items=items, counts=data.counts | moved),
        replace(
            split,
            part=split.part[order],
            t_val=t_val,
            t_test=t_test,
            edges=np.array([t_test, t_test + 1]),
        ),
    )
