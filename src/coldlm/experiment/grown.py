"""A world that grows: by events later than all it has, by new items, by new users. Codes stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from coldlm.asof.growth import grown_catalogue, grown_memory
from coldlm.core.tables import STREAM, UNKNOWN, Items, Log, Users
from coldlm.data.canonical.template import clean
from coldlm.experiment.live_files import EventLine, ItemLine
from coldlm.experiment.world import World
from coldlm.split.queries import seen_queries


class Growing:
    """A world and whatever has come since. ``users``, ``items``: id -> code."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.users = {name: code for code, name in enumerate(world.data.users.ids)}
        self.items = {name: code for code, name in enumerate(world.data.items.ids)}

    def replay(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take what a journal holds, all at once: codes follow the order in which things came."""
        whole = list(lines)
        events = [EventLine(**line["event"]) for line in whole if "event" in line]
        self.grow(events, [ItemLine(**line["item"]) for line in whole if "item" in line])

    def grow(self, events: Sequence[EventLine], items: Sequence[ItemLine] = ()) -> None:
        """Take events, none earlier than what is known, and items."""
        if not (events or items):
            return
        for item in items:
            self.items[item.id] = len(self.items)
        new = [user for user in dict.fromkeys(e.user for e in events) if user not in self.users]
        for user in new:
            self.users[user] = len(self.users)
        begin = int(self.world.data.log.event_id.max()) + 1
        texts_typed = [clean(event.text) for event in events]
        queries = {text: code for code, text in enumerate(self.world.data.users.queries)}
        for text in texts_typed:
            if text:
                queries.setdefault(text, len(queries))
        more = Log(
            np.array([self.users[e.user] for e in events], np.int64),
            np.array([self.items[e.item] for e in events], np.int64),
            np.array([e.time for e in events], np.int64),
            np.array([e.label for e in events], np.float64),
            np.array([e.positive for e in events], np.bool_),
            np.arange(begin, begin + len(events), dtype=np.int64),
            np.array([queries.get(text, -1) for text in texts_typed], np.int64)
            if queries
            else None,
        )
        released = np.array([item.released_at for item in items], np.int64)
        ids, titles, texts = (tuple(getattr(i, c) for i in items) for c in ("id", "title", "text"))
        new_items = Items(ids, titles, texts, released)
        self.world = grown(self.world, more, new_items, tuple(new), tuple(queries))


def grown(
    world: World, more: Log, items: Items, users: tuple[str, ...], queries: tuple[str, ...]
) -> World:
    """Return ``world`` with what came since; nothing of it is asked, and nothing on the probe.

    Args:
        more: events by the codes of the larger tables, none earlier than the last of the log.
        items, users: new ones, whose codes follow those that there are.
        queries: all that was typed, those that there were first.
    """
    data = world.data
    n_items, n_users = len(items), len(users)
    nobody = ("",) * n_users
    data = replace(
        data,
        items=_joined_items(data.items, items),
        users=Users(
            data.users.ids + users,
            data.users.texts + nobody,
            {name: values + nobody for name, values in data.users.groups.items()},
            queries,
        ),
        log=_joined_logs(data.log, more),
    )
    if (
        data.text_source is not None and data.own_texts is not None
    ):  # a control: new texts stay theirs
        own = np.arange(len(data.items) - n_items, len(data.items))
        source = np.append(data.text_source, own)
        data = replace(data, text_source=source, own_texts=data.own_texts + items.texts)
    catalogue = grown_catalogue(world.catalogue, data, more)
    known = replace(more, time=more.time + max(world.delay - 1, 0))  # as in world_of
    unmet = np.append(world.meets_at, np.full(n_items, UNKNOWN))
    new = len(more)
    part = np.append(world.split.part, np.full(new, STREAM, world.split.part.dtype))
    split = replace(world.split, part=part)
    return replace(
        world,
        data=data,
        split=split,
        catalogue=catalogue,
        meets_at=np.minimum(unmet, catalogue.enters_at),
        as_of=grown_memory(
            world.as_of, known, len(data.users), catalogue.enters_at, catalogue.masked_until
        ),
        cold_users=np.append(world.cold_users, np.ones(n_users, bool)),
        cold_items=np.append(world.cold_items, np.ones(n_items, bool)),
        probe=np.append(world.probe, np.zeros(new, bool)),
        seen_query=None if world.seen_query is None else seen_queries(data, split),
    )


def _joined_logs(log: Log, more: Log) -> Log:
    names = [f.name for f in fields(Log) if f.name != "query"]
    joined: dict[str, Any] = {n: np.append(getattr(log, n), getattr(more, n)) for n in names}
    if log.query is None and more.query is None:
        return Log(**joined)
    typed = [np.full(len(part), -1) if part.query is None else part.query for part in (log, more)]
    return Log(**joined, query=np.concatenate(typed))


def _joined_items(items: Items, more: Items) -> Items:
    return Items(
        items.ids + more.ids,
        items.titles + more.titles,
        items.texts + more.texts,
        np.append(items.released_at, more.released_at),
    )
