"""A data set made small, for debug runs: few users, all of their events, and what they met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from coldlm.core.seeding import generator
from coldlm.core.tables import Dataset, Ints


def of_few_users(data: Dataset, events: int) -> Dataset:
    """Return the events of whole users, drawn until they have ``events`` of them at most (at least one
    user), and the items that these took or were shown. Dates, users' histories and when items enter stay
    what they are, for the items left; users keep their codes.

    Args:
        events: at most so many.
    """
    drawn = generator(0, "debug.events").permutation(len(data.users))
    many = np.cumsum(np.bincount(data.log.user, minlength=len(data.users))[drawn])
    among = np.isin(data.log.user, drawn[: max(1, int(np.searchsorted(many, events, "right")))])
    if among.all():
        return data
    log, lists = data.log.rows(among), data.impressions
    if lists is not None:
        lists = lists.where(np.isin(lists.user, np.unique(log.user)))
    kept = np.unique(np.concatenate([log.item] if lists is None else [log.item, lists.item]))
    code = np.full(len(data.items), -1, np.int64)
    code[kept] = np.arange(len(kept))
    items = replace(
        data.items,
        **{
            name: tuple(getattr(data.items, name)[i] for i in kept)
            for name in ("ids", "titles", "texts")
        },
        released_at=data.items.released_at[kept],
    )
    left_out = int(len(data.log) - len(log))
    return replace(
        data,
        items=items,
        log=replace(log, item=code[log.item]),
        impressions=None if lists is None else replace(lists, item=code[lists.item]),
        texts_as_of=_of_these(data, kept),
        counts=data.counts | {"events_left_out_for_debug": left_out},
    )


def _of_these(
    data: Dataset, kept: Ints
) -> Callable[[Ints, Ints], tuple[tuple[str, ...], Ints]] | None:
    """Dated texts of the items ``kept`` alone."""
    whole = data.texts_as_of
    if whole is None:
        return None

    def texts_as_of(times: Ints, until: Ints) -> tuple[tuple[str, ...], Ints]:
        spread = np.zeros((2, len(data.items)), np.int64)
        spread[:, kept] = times, until
        texts, known_at = whole(*spread)
        return tuple(texts[i] for i in kept), known_at[kept]

    return texts_as_of
