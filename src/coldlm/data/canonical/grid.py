"""The grid release rule: an item without a release time enters with the slot of its first event."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from coldlm.core.errors import DataError
from coldlm.core.tables import DAY, UNKNOWN, Dataset, Ints

SLOTS: Final = {"hour": 3_600, "day": 86_400, "week": 604_800}
"""Seconds. Slots start at multiples of these since 1970, in UTC."""

FRESH: Final = 10
"""Items that a slot must bring for "auto", in the median over the slots of the training part: among
fewer, to know that each is taken before the slot ends says too much."""


def on_grid(data: Dataset, slot: str, rows: Ints) -> Dataset:
    """Return ``data`` with the grid rule for its items without a release time; see
    ``candidates.Catalogue``.

    Args:
        rows: row numbers of the training events.
        slot: a key of ``SLOTS``, or "auto": the shortest that brings ``FRESH`` items in the median
            of those slots of the events that bring any; the longest if none does.

    Raises:
        DataError: every item has a release time, or leaves within the slot in which it enters.
    """
    if not (data.items.released_at == UNKNOWN).any():
        raise DataError(
            f"release_slot={slot}: every item of {data.name} has a release time; set "
            "release_slot=null"
        )
    chosen = choose(data, rows) if slot == "auto" else slot
    if data.item_ttl_days is not None and data.item_ttl_days * DAY <= SLOTS[chosen]:
        raise DataError(
            f"dataset.item_ttl_days={data.item_ttl_days}: items would leave within the {chosen} in "
            "which they enter; "
            "set more days than that, null for items that stay, or a shorter release_slot"
        )
    return replace(data, release="grid", slot=SLOTS[chosen])


def choose(data: Dataset, rows: Ints) -> str:
    """Return the slot that "auto" stands for, from the training events ``rows`` alone."""
    first = np.full(len(data.items), UNKNOWN, np.int64)
    np.minimum.at(first, data.log.item[rows], data.log.time[rows])
    first = first[(first < UNKNOWN) & (data.items.released_at == UNKNOWN)]
    for name, seconds in SLOTS.items():
        sizes = np.unique(first // seconds, return_counts=True)[1]
        if len(sizes) and np.median(sizes) >= FRESH:
            return name
    return list(SLOTS)[-1]
