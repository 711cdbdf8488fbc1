"""One frozen type per arrow of the pipeline: what a reader yields, how time is cut, what is asked.

Shape letters: N items, U users, E events, Q queries, P positives of queries, W windows, L lists, S
items of lists. Ids are strings at the edges and integer codes inside; every array is indexed by
code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldlm.core.dates import iso
from coldlm.core.errors import DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Parts = NDArray[np.int8]

UNKNOWN: int = int(np.iinfo(np.int64).max)
"""``released_at`` of an item without a release time: it enters the candidates after its first
event."""

ALWAYS: int = int(np.iinfo(np.int64).min)
"""``log_starts_at`` of a data set in which every event has a time of its own."""

DAY: int = 86_400
"""Seconds."""

TRAIN, VALIDATION, STREAM = 0, 1, 2
"""Values of ``Split.part``."""

HELD_OUT, AFTERWARDS = 3, 4
"""Values of ``Split.part`` for events that are to be removed: old ones of items that are to be new (see
``split/simulated_cold.py``), and those behind the stream of an origin."""


@dataclass(frozen=True)
class Items:
    """The catalogue. ``ids``: [N] distinct strings. ``titles``: [N], for people. ``texts``: [N],
    for the language model ("" when an item has none). ``released_at``: [N] int64 Unix seconds,
    ``UNKNOWN`` where not given."""

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    texts: tuple[str, ...]
    released_at: Ints

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Users:
    """``ids``: [U] distinct strings. ``texts``: [U] profile texts ("" when a user has none). ``groups``:
    column -> [U] values by which users are told apart in tables, and nowhere else ("": in none).
    ``queries``: [T] texts that were typed into a search box.

    *Who asks* is one number for a user and what they typed, user + U (1 + query): the user's own code
    where nothing was typed. Scorers are given it; what is known of the past they ask of ``asof`` by it,
    and what they read of who asks is ``read[place(who)]``.

    >>> users = Users(("ann", "bob"), ("likes dogs", ""), queries=("cats", "red cats"))
    >>> who = users.asking(np.array([0, 1, 1]), np.array([-1, -1, 1]))
    >>> who.tolist(), users.person(who).tolist(), [users.read[i] for i in users.place(who)]
    ([0, 1, 5], [0, 1, 1], ['likes dogs', '', 'red cats'])
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    queries: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def asking(self, user: Ints, query: Ints | None) -> Ints:
        """Return who asks, [Q], of users and what they typed, -1 (or None for all) for nothing."""
        return user if query is None else user + len(self) * (1 + query)

    def person(self, who: Ints) -> Ints:
        """Return the users, [Q], among those who ask."""
        return who % len(self)

    @cached_property
    def read(self) -> tuple[str, ...]:
        """[U + T] all that can be read of who asks: profiles, then queries."""
        return self.texts + self.queries

    def place(self, who: Ints) -> Ints:
        """Return where in ``read`` the text of who asks is: what they typed, else their profile."""
        query: Ints = who // len(self) - 1
        return np.where(query < 0, who, len(self) + query)


@dataclass(frozen=True)
class Log:
    """All events, sorted by (time, event id). ``user``, ``item``: [E] int64 codes. ``time``: [E]
    int64 Unix seconds.
    ``label``: [E] float64 as published (a rating; 1 for a click). ``positive``: [E] bool, what the
    data set calls a positive. ``event_id``: [E] int64, the row number in the raw file. ``query``: [E]
    int64 code in ``Users.queries`` of what was typed before the event and is known at its time, -1 for
    nothing; None where the data have no such texts."""

    user: Ints
    item: Ints
    time: Ints
    label: Floats
    positive: Bools
    event_id: Ints
    query: Ints | None = None

    def __len__(self) -> int:
        return len(self.user)

    def rows(self, index: Ints | slice | Bools) -> Log:
        """Return the same columns, restricted to ``index``."""
        columns: list[Any] = [None if each is None else each[index] for each in vars(self).values()]
        return Log(*columns)


@dataclass(frozen=True)
class Impressions:
    """Candidate lists as they were shown, in time order. ``user``, ``time``: [L] int64. ``start``:
    [L + 1] int64, offsets into ``item``: [S] int64 codes in the order shown (an item may stand in a
    list twice), and ``clicked``: [S] bool."""

    user: Ints
    time: Ints
    start: Ints
    item: Ints
    clicked: Bools

    def __len__(self) -> int:
        return len(self.user)

    @property
    def owner(self) -> Ints:
        """[S] the list of each item."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    @property
    def n_clicked(self) -> Ints:
        """[L] clicks of each list."""
        return np.bincount(self.owner[self.clicked], minlength=len(self))

    def slice(self, first: int, last: int) -> Impressions:
        """Return the lists ``first`` to ``last`` (excluded), offsets rebased."""
        start = self.start[first : last + 1]
        part = slice(start[0], start[-1])
        return Impressions(
            self.user[first:last],
            self.time[first:last],
            start - start[0],
            self.item[part],
            self.clicked[part],
        )

    def where(self, keep: Bools) -> Impressions:
        """Return the lists marked in ``keep``, [L] bool."""
        start, inside = _offsets_of(self.start, keep)
        return Impressions(
            self.user[keep], self.time[keep], start, self.item[inside], self.clicked[inside]
        )


@dataclass(frozen=True)
class Dataset:
    """What a reader yields. ``repeats``: whether a user may take an item again (music, groceries)
    or not (films, news).
    ``release``: "field", "after_first" or "grid". ``slot``: seconds of a slot of the grid, else
    None.
    ``half_lives_days``: three half-lives of the decayed counts, fast to slow.
    ``item_ttl_days``: how long an item stays a candidate, None for ever. ``counts``: every policy
    that touched a row or a text, by name (printed in every run). ``found``: what was found out about the
    files, and ``warnings`` what may be wrong with them (the same). ``hashes``: sha256 of each raw
    file by file name. ``text_source``, ``own_texts``: [N] whose text each item reads
    where texts were permuted (a control), and the texts as they were, else None. ``texts_as_of``:
    where texts change, ([N] times, [N] ends of entry slots) -> ([N] texts as known strictly before
    each item's time, [N] when the newest part of each was made); a first value made before the end
    of its item's entry slot is known as well.
    ``text_known_at``: [N] the latter for ``items.texts``, None where texts do not change.
    ``log_starts_at``: earlier events did happen before the log, but nobody knows when, and their
    times are made up. ``impressions``: the lists that were shown, None where the source has
    none."""

    name: str
    domain: str
    items: Items
    users: Users
    log: Log
    repeats: bool
    release: str
    half_lives_days: tuple[float, float, float]
    item_ttl_days: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    text_source: Ints | None = None
    own_texts: tuple[str, ...] | None = None
    slot: int | None = None
    texts_as_of: Callable[[Ints, Ints], tuple[tuple[str, ...], Ints]] | None = None
    text_known_at: Ints | None = None
    log_starts_at: int = ALWAYS
    impressions: Impressions | None = None
    found: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def with_texts_as_of(self, times: Ints, enters_at: Ints) -> Dataset:
        """Return the same data set with each item's text as it was known strictly before its time,
        [N]. Under the grid rule what is written in the slot in which an item enters, ``enters_at``
        [N], counts as known from that slot's start, as the item itself does."""
        if self.texts_as_of is None:
            return self
        until = (
            np.zeros(len(times), np.int64)
            if self.slot is None
            else (enters_at // self.slot + 1) * self.slot
        )
        texts, known_at = self.texts_as_of(times, until)
        return replace(self, items=replace(self.items, texts=texts), text_known_at=known_at)

    def who_took(self, rows: Ints) -> Ints:
        """Return who asked, [E], at these rows of the log (see ``Users``)."""
        typed = self.log.query
        return self.users.asking(self.log.user[rows], None if typed is None else typed[rows])

    def who_asks(self, queries: Queries) -> Ints:
        """Return who asks, [Q], each of the queries (see ``Users``)."""
        if self.log.query is None:
            return queries.user
        return self.who_took(queries.event[queries.start[:-1]])

    def with_texts_of(self, source: Ints) -> Dataset:
        """Return the same data set with item i reading the text of item ``source[i]``, [N] codes."""
        texts = tuple(self.items.texts[i] for i in source)
        items = replace(self.items, texts=texts)
        return replace(self, items=items, text_source=source, own_texts=self.items.texts)


@dataclass(frozen=True)
class Split:
    """What each event of the log is for. ``part``: [E] int8, ``TRAIN``, ``VALIDATION`` or
    ``STREAM``; ``HELD_OUT`` or ``AFTERWARDS`` where the event is to be removed.

    ``t_val``, ``t_test``: all training events are earlier than ``t_val``, those of train +
    validation than ``t_test``.
    ``edges``: [W + 1] int64; window w of the stream holds its events with edges[w] <= time <
    edges[w + 1]. ``merged``: windows that held no event and became part of the next. ``leaky``:
    True for splits that let the future into training; every row they make says so. Otherwise train
    < ``t_val`` <= validation < ``t_test`` = edges[0] <= stream. ``at_once``: the stream, if leaky
    validation too, is to be moved to one second (see ``split/at_once.py``).
    """

    name: str
    t_val: int
    t_test: int
    part: Parts
    edges: Ints
    merged: int = 0
    leaky: bool = False
    at_once: bool = False

    @property
    def n_windows(self) -> int:
        return len(self.edges) - 1

    def rows(self, *parts: int) -> Ints:
        """Row numbers of the log's events in these parts, ascending."""
        return np.flatnonzero(np.isin(self.part, parts))

    def __str__(self) -> str:
        t_val, t_test, first = map(iso, (self.t_val, self.t_test, self.edges[0]))
        if self.leaky:
            return f"LEAKY split {self.name}: train + validation < {t_test}, but {first} <= stream"
        return f"train < {t_val} <= validation < {t_test} <= stream"


@dataclass(frozen=True)
class Queries:
    """(user, time, text typed) blocks in time order. ``user``, ``time``, ``window``: [Q] int64 (window -1
    outside the stream).
    ``start``: [Q + 1] int64 offsets into ``event``: [P] int64, row numbers of the log: the
    positives of query q are ``event[start[q]:start[q + 1]]``. ``counts``: positives that are not
    asked, by reason. ``lists``: Q candidate lists, the p-th clicked item of which is the item of
    ``event[p]``; None where the candidates are the catalogue's."""

    user: Ints
    time: Ints
    window: Ints
    start: Ints
    event: Ints
    counts: dict[str, int] = field(default_factory=dict)
    lists: Impressions | None = None

    def __len__(self) -> int:
        return len(self.user)

    def slice(self, first: int, last: int) -> Queries:
        """Return the queries ``first`` to ``last`` (excluded), offsets rebased."""
        start = self.start[first : last + 1]
        return Queries(
            self.user[first:last],
            self.time[first:last],
            self.window[first:last],
            start - start[0] if len(start) else np.zeros(1, np.int64),
            self.event[start[0] : start[-1]] if len(start) else self.event[:0],
            lists=self.lists and self.lists.slice(first, last),
        )

    def where(self, keep: Bools) -> Queries:
        """Return the queries marked in ``keep``, [Q] bool."""
        start, inside = _offsets_of(self.start, keep)
        lists = self.lists and self.lists.where(keep)
        return Queries(
            self.user[keep],
            self.time[keep],
            self.window[keep],
            start,
            self.event[inside],
            self.counts,
            lists,
        )


def _offsets_of(start: Ints, keep: Bools) -> tuple[Ints, Bools]:
    """The offsets of the groups marked in ``keep``, and which entries lie in them."""
    sizes = np.diff(start)
    return np.concatenate([[0], np.cumsum(sizes[keep])]).astype(np.int64), np.repeat(keep, sizes)


def read_only(*parts: object) -> None:
    """Make read-only all arrays of these parts, and of what they hold as fields: they belong to
    several."""
    for part in parts:
        if isinstance(part, np.ndarray):
            part.flags.writeable = False
        elif is_dataclass(part):
            read_only(*(getattr(part, each.name) for each in fields(part)))


def sorted_log(
    user: Ints,
    item: Ints,
    time: Ints,
    label: Floats,
    positive: Bools,
    event_id: Ints | None = None,
    query: Ints | None = None,
) -> Log:
    """Return a ``Log`` in (time, event id) order from columns in any order; row numbers become
    event ids if none are given.

    Raises:
        DataError: columns of unequal length, or no event at all.
    """
    columns = (user, item, time, label, positive, *([] if query is None else [query]))
    lengths = {len(column) for column in columns}
    if len(lengths) != 1:
        raise DataError(f"columns of one log must be equally long, got lengths {sorted(lengths)}")
    if not len(user):
        raise DataError("the log holds no event: at least one interaction is needed")
    ids = np.arange(len(user), dtype=np.int64) if event_id is None else event_id.astype(np.int64)
    order = np.lexsort((ids, time))
    return Log(
        user[order].astype(np.int64),
        item[order].astype(np.int64),
        time[order].astype(np.int64),
        label[order].astype(np.float64),
        positive[order].astype(np.bool_),
        ids[order],
        None if query is None else query[order].astype(np.int64),
    )
