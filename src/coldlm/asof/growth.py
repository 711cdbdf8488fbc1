"""What is known as of a time, grown by events that come after all that are there: to the bit what
``AsOf`` and ``Catalogue`` make of the longer log, at the cost of copying it."""

from __future__ import annotations

import copy

import numpy as np

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.tables import UNKNOWN, Dataset, Ints, Log


def grown_memory(
    as_of: AsOf, more: Log, n_users: int, enters_at: Ints, masked_until: Ints | None
) -> AsOf:
    """Return ``as_of`` with the events ``more``, none earlier than those it has.

    Args:
        n_users, enters_at, masked_until: as for ``AsOf``, of the larger code spaces.
    """
    new, other = more.rows(more.positive), copy.copy(as_of)
    has_mask = masked_until is not None and not np.array_equal(masked_until, enters_at)
    other.n_users, other.n_items, other._enters_at = n_users, len(enters_at), enters_at
    other._masked_until = masked_until if has_mask else None
    other._time = np.append(as_of._time, new.time)
    other._item = np.append(as_of._item, new.item)
    other.by_user = as_of.by_user.grown(new.user, new.time, n_users)
    other._item_of_user = np.append(other._item[other.by_user.row], -1)
    other.by_item = items = as_of.by_item.grown(new.item, new.time, len(enters_at))
    other._place = np.empty(len(other._time), np.int64)
    other._place[items.row] = np.arange(len(other._time))
    places = other._place[len(as_of._time) :]
    number = places - items.start[new.item] + 1
    other._most = np.append(
        as_of._most, np.maximum.accumulate(np.append(as_of._most[-1], number))[1:]
    )
    other._decayed = np.empty((len(as_of._half_lives), len(other._time)))
    is_new = np.zeros(len(other._time), bool)
    is_new[places] = True
    other._decayed[:, ~is_new] = as_of._decayed
    half_lives = np.array(as_of._half_lives)
    for place in np.sort(places).tolist():
        other._decayed[:, place] = 1
        if not _is_first(place, items.start):
            gap = items.time[place] - items.time[place - 1]
            other._decayed[:, place] += other._decayed[:, place - 1] * np.exp2(-gap / half_lives)
    other._lines = {}
    return other


def _is_first(place: int, start: Ints) -> bool:
    """Whether an event at this place of ``Grouped`` is the first of its group."""
    at = np.searchsorted(start, place, side="right") - 1
    return bool(start[at] == place)


def grown_catalogue(catalogue: Catalogue, data: Dataset, more: Log) -> Catalogue:
    """Return the catalogue of ``data``, whose log ends with the events ``more`` and whose items begin with
    those of ``catalogue``."""
    other, n_before = copy.copy(catalogue), len(catalogue)
    unmet = np.full(len(data.items) - n_before, UNKNOWN - 1, np.int64)
    first = np.append(catalogue.first_event, unmet)
    np.minimum.at(first, more.item, more.time)
    other._enter(data, first)
    other._item = np.append(catalogue._item, more.item)
    other._n_users = len(data.users)
    other._by_user = catalogue._by_user.grown(more.user, more.time, other._n_users)
    known = catalogue._pair // n_before * len(other) + catalogue._pair % n_before
    pair: Ints = more.user * len(other) + more.item
    pairs, row = np.unique(pair, return_index=True)
    at = np.searchsorted(known, pairs)
    new = np.append(known, -1)[at] != pairs
    other._pair = np.insert(known, at[new], pairs[new])
    other._pair_time = np.insert(catalogue._pair_time, at[new], more.time[row[new]])
    return other
