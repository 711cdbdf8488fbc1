"""Everybody is asked at once for all that was held back of them, as papers do.

```
per_user      user 0   t  t  v  t  S  t            drawn user by user, whenever it happened
              user 1         t  S     t  v

loo_at_once   user 0   t  t  t  t  v  S            the last positive of each user, and the one before
              user 1         t  t  v  S

asked         user 0   t  t     t     t  |  v  |  S    what is held back moves behind all training: validation to one
              user 1         t        t  |  v  |  S    second, the stream to the next, a query per user in each

time_at_once  user 0   t  t  | v  v  | S           cut at two moments, as ``time`` does; the stream moves to the
              user 1   t  t  |    v  | S  S        second: a query per user
```

``per_user`` and ``loo_at_once`` are **LEAKY**: weights learn from events later than those that they
are asked for. Histories and counts hold training alone at validation, training and validation in
the stream; the candidates are all items less those, since papers of this kind take every item to be
there from the start.

``time_at_once`` lets nothing of the future in. Its validation is asked as it happens, since what is
moved is no longer recent at T_test; items enter when they do, so of those without a release none
that enters in the stream is a candidate.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np

from coldlm.core.columns import Range
from coldlm.core.seeding import generator
from coldlm.core.tables import ALWAYS, STREAM, TRAIN, VALIDATION, Dataset, Log, Split
from coldlm.split.cuts import PartShare, leaky, time


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


def loo_at_once(log: Log, starts_at: int = ALWAYS) -> Split:
    """LEAKY, leave one out as papers do that know no time: each user's last positive is asked for,
    the one before is validation, all else trains.

    Positives of one second are in the order of their lines, where ``loo`` keeps the second whole. A
    user with one positive is asked for it, as a cold user; such papers drop these users.

    Raises:
        DataError: a part would be empty.

    >>> from coldlm.core.tables import sorted_log
    >>> one = np.ones(7)
    >>> user, day = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([1, 2, 3, 3, 2, 5, 6])
    >>> split = loo_at_once(sorted_log(user, np.arange(7), day, one, one > 0))
    >>> split.part.tolist()  # days 1, 2, 2, 3, 3, 5 and 6, of users 0, 0, 1, 0, 0, 1 and 1
    [0, 0, 0, 1, 2, 1, 2]
    """
    rows = np.flatnonzero(log.positive & (log.time >= starts_at))
    rows = rows[np.argsort(log.user[rows], kind="stable")]
    ends = np.searchsorted(log.user[rows], log.user[rows], side="right")
    later = ends - 1 - np.arange(len(rows))
    part = np.zeros(len(log), np.int8)
    part[rows[later == 1]] = VALIDATION
    part[rows[later == 0]] = STREAM
    return replace(leaky("loo_at_once", log, part), at_once=True)


def time_at_once(
    log: Log,
    starts_at: int = ALWAYS,
    *,
    train: PartShare | None = 0.7,
    validation: PartShare | None = 0.1,
    t_val: str | None = None,
    t_test: str | None = None,
) -> Split:
    """Return the two cuts of ``cuts.time``, by shares or dates; everybody is asked at T_test for all
    of the stream, and during validation as it happens.

    Raises:
        DataError: as there.

    >>> from coldlm.core.tables import sorted_log
    >>> one = np.ones(10)
    >>> log = sorted_log(np.arange(10) % 2, np.arange(10), np.arange(10), one, one > 0)
    >>> split = time_at_once(log, train=0.5, validation=0.2)
    >>> split.part.tolist(), split.t_val, split.t_test, split.leaky
    ([0, 0, 0, 0, 0, 1, 1, 2, 2, 2], 5, 7, False)
    """
    cuts = time(
        log, starts_at, train=train, validation=validation, t_val=t_val, t_test=t_test, windows=1
    )
    return replace(cuts, name="time_at_once", at_once=True)


def move(data: Dataset, split: Split) -> tuple[Dataset, Split]:
    """Return both with the stream in the second of T_test. If the split is leaky, that second and
    the one before, to which validation moves, lie behind the log's last, and every item is released
    by the first event."""
    log, items, t_val, t_test = data.log, data.items, split.t_val, split.t_test
    held = split.part == STREAM
    times = np.where(held, t_test, log.time)
    if split.leaky:
        first, last = int(log.time[0]), int(log.time[-1])
        t_val, t_test, held = last + 1, last + 2, split.part != TRAIN
        times = np.select([split.part == VALIDATION, held], [t_val, t_test], log.time)
        items = replace(items, released_at=np.minimum(items.released_at, first))
    order = np.lexsort((log.event_id, times))
    log = replace(log.rows(order), time=times[order])
    moved = {"given a time of their own: asked at once": int(held.sum())}
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
