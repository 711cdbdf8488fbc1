"""Simulated cold: some items that the past took are held out of it, so that they come back as if
they were new.

```
                       T_test
held out   .  . .  .     |   x    x  x        . removed from the log, x stays in the stream
any other  x x   x  x    |     x   x
```

The cuts are those of the whole log. What is removed never happened, to everybody: not to training,
counts, histories and cold cohorts, and not to what users had already, so a user may be asked for an
item again that he had before T_test.

The past took a held-out item, so it is known to exist: it stays a candidate from where the whole
log lets it in, and keeps that as its release time, whatever the release rule. Under ``after_first``
and on a grid it is then the *only* kind of candidate without an event, which makes n = 0
measurable, for old items in new clothes, and tells them from all
others: the canary ``fewest_events`` finds them. It has an age, which is not masked on a grid, since
it has been there all along.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from coldlm.asof.catalogue import Catalogue
from coldlm.core.seeding import generator
from coldlm.core.tables import HELD_OUT, Bools, Dataset, Log, Split


def draw(log: Log, t_test: int, share: float, seed: int) -> Bools:
    """Return [E] events before ``t_test`` of a ``share``, rounded up, of the items that have a
    positive one then.

    >>> from coldlm.core.tables import sorted_log
    >>> item, positive = np.array([0, 1, 0, 2, 0, 1]), np.array([1, 1, 0, 0, 1, 1]) > 0
    >>> log = sorted_log(np.arange(6), item, np.arange(6), np.ones(6), positive)
    >>> draw(log, 4, 0.5, seed=1).astype(int).tolist(), draw(log, 4, 1.0, seed=1).astype(int).tolist()
    ([1, 0, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0])
    """
    past = log.time < t_test
    items = np.unique(log.item[past & log.positive])
    drawn = generator(seed, "simulated cold").permutation(items)[
        : math.ceil(round(share * len(items), 6))
    ]
    held_out: Bools = past & np.isin(log.item, drawn)
    return held_out


def hold_out(data: Dataset, split: Split) -> tuple[Dataset, Split]:
    """Both without the events that are ``HELD_OUT``; their items keep the entry that the whole log
    gave them."""
    keep = split.part != HELD_OUT
    items = np.unique(data.log.item[~keep])
    released_at = data.items.released_at.copy()
    released_at[items] = Catalogue(data).enters_at[items]
    counts = {"held out: simulated cold": int((~keep).sum()), "items held out": len(items)}
    return (
        replace(
            data,
            items=replace(data.items, released_at=released_at),
            log=data.log.rows(keep),
            counts=data.counts | counts,
        ),
        replace(split, part=split.part[keep]),
    )
