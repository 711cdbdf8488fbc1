"""A world with known truth: who likes which topic, what each item is about, and how much its text
says of that.

A user's taste and an item's content are mixtures of topics. At every event a user takes one of the
items released by then (and not had before, unless items repeat) with probability proportional to
exp(affinity + popularity): ``AFFINITY`` times the cosine of taste and content, plus the item's own
appeal. Only the text tells an item's topics, and ``text_signal`` says how clearly: at 1 every word
comes from the item's own topics, at 0 from all topics alike. Texts and events are drawn from
streams of their own, so the same seed gives the same events at every ``text_signal``.

A share of the events, ``queries``, begins with a search: the user knows what they are looking for, and
types ``QUERY_WORDS`` words about the topics of the item that they then take. So what was typed tells the
item's topics at the moment, where history tells what the user likes at all times.

```
start - days             start                                        start + days
     |-- older items ------|==== events, tastes move all the while ========|
                           |== half of the users; the others arrive evenly |
                           |  | | |   |  | |   new items, in bursts        |
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.random import Generator

from coldlm.core.columns import Range, Share
from coldlm.core.errors import DataError
from coldlm.core.seeding import generator
from coldlm.core.tables import DAY, Dataset, Floats, Ints, Items, Users, sorted_log
from coldlm.data.canonical.reader import with_defaults_of
from coldlm.data.canonical.remembered import remembered
from coldlm.data.canonical.typed import coded
from coldlm.data.canonical.words import write
from coldlm.data.files.raw import refuse, three, time_scale_problems

START = 1_704_067_200
"""1 January 2024, UTC."""

AFFINITY = 6.0
"""Utility of an item that is exactly to a user's taste, against 0 for one of entirely other
topics."""

CONCENTRATION = 0.15
"""Of the Dirichlet mixtures: most weight lies on one topic."""

BURST_EVERY, BURST_LENGTH, MIN_BURSTS = 2 * DAY, 3600, 10
ITEM_WORDS, USER_WORDS, QUERY_WORDS = 12, 8, 2

ROOM = 4
"""Pairs of user and item that must exist per event where items do not repeat, so that tastes are
not exhausted."""


@dataclass(frozen=True)
class SimulatedTruth:
    """``item_topics``: [N, K] and ``tastes``: [2, U, K], at the start and at the end, mixtures that
    sum to 1 over K topics. ``popularity``: [N], added to the utility. ``released_at``: [N] and
    ``arrived_at``: [U], ascending Unix seconds. ``span``: seconds from ``START`` to the end."""

    item_topics: Floats
    tastes: Floats
    popularity: Floats
    released_at: Ints
    arrived_at: Ints
    span: int

    def taste(self, users: Ints, times: Ints) -> Floats:
        """Return [Q, K] unit vectors: what each user likes at each time."""
        share = ((times - START) / self.span)[:, None]
        return _unit((1 - share) * self.tastes[0][users] + share * self.tastes[1][users])

    def affinity(self, users: Ints, times: Ints) -> Floats:
        """Return [Q, N] the true utility of every item to each user at each time, without
        popularity."""
        return AFFINITY * self.taste(users, times) @ _unit(self.item_topics).T


def load(
    *,
    seed: int = 0,
    users: Annotated[int, Range(2, 10_000)] = 300,
    items: Annotated[int, Range(10, 10_000)] = 600,
    events: Annotated[int, Range(10, 1_000_000)] = 20_000,
    topics: Annotated[int, Range(2, 12)] = 8,
    text_signal: Share = 1.0,
    language: Literal["en", "zh", "both"] = "both",
    days: Annotated[float, Range(1, 3650)] = 60.0,
    new_item_share: Annotated[float, Range(0, 0.9)] = 0.5,
    drift: Share = 0.2,
    popularity: Annotated[float, Range(0, 3)] = 0.5,
    queries: Share = 0.0,
    repeats: bool = False,
    half_lives_days: list[float] = [1.0, 7.0, 30.0],  # noqa: B006  never changed
) -> Dataset:
    """Return a data set from the world that ``make_world`` makes of the same keys.

    Args:
        seed: the same seed gives the same bytes.
        users, items, events, topics: sizes.
        text_signal: probability that a word comes from the item's own topics rather than from all
            topics alike.
        language: of the texts; with "both" each item and user has one of the two.
        days: length of the events' period.
        new_item_share: share of the items that are released during the period, the others before.
        drift: how much of a user's taste has been replaced by another at the end.
        popularity: standard deviation of the items' own appeal.
        queries: share of the events before which a text was typed; it changes nothing else.
        repeats: whether a user may take an item again.
        half_lives_days: of the decayed counts, three, ascending.

    Raises:
        DataError: see ``problems``.
    """
    refuse(
        problems(
            users=users,
            items=items,
            events=events,
            repeats=repeats,
            half_lives_days=half_lives_days,
        )
    )
    keys: dict[str, Any] = {
        "seed": seed, "users": users, "items": items, "events": events, "topics": topics,
        "text_signal": text_signal, "language": language, "days": days,
        "new_item_share": new_item_share, "drift": drift, "popularity": popularity,
        "queries": queries, "repeats": repeats,
    }  # fmt: skip
    return remembered(
        ["simulated", keys, half_lives_days],
        lambda: replace(make_world(**keys)[0], half_lives_days=three(half_lives_days)),
    )


@with_defaults_of(load)
def problems(
    *,
    users: int,
    items: int,
    events: int,
    repeats: bool,
    half_lives_days: Sequence[float],
    **_: object,
) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting, beyond the ranges of the single
    keys."""
    found = time_scale_problems(half_lives_days, None)
    if not repeats and events * ROOM > users * items:
        found.append(
            f"dataset.events={events}: at most {users * items // ROOM:,} with {users:,} users and "
            f"{items:,} items that "
            f"nobody takes twice; fewer events, more users or items, or dataset.repeats=true"
        )
    return found


def make_world(
    *,
    seed: int = 0,
    users: int = 300,
    items: int = 600,
    events: int = 20_000,
    topics: int = 8,
    text_signal: float = 1.0,
    language: Literal["en", "zh", "both"] = "both",
    days: float = 60.0,
    new_item_share: float = 0.5,
    drift: float = 0.2,
    popularity: float = 0.5,
    queries: float = 0.0,
    repeats: bool = False,
) -> tuple[Dataset, SimulatedTruth]:
    """Return the data set together with the truth behind it; see ``load``.

    Items are numbered in the order of their release, users in the order of their arrival. Every
    event lies strictly after its item's release and inside the period; its label is 1.

    Raises:
        DataError: at some event nobody has an item left to take.
    """
    draw = generator(seed, "world")
    span = int(days * DAY)
    mixture = np.full(topics, CONCENTRATION)
    tastes = draw.dirichlet(mixture, (2, users))
    tastes[1] = (1 - drift) * tastes[0] + drift * tastes[1]
    arrives_late = np.arange(users) >= (users + 1) // 2
    world = SimulatedTruth(
        item_topics=draw.dirichlet(mixture, items),
        tastes=tastes,
        popularity=popularity * draw.standard_normal(items),
        released_at=_release_times(draw, items, round(items * new_item_share), span),
        arrived_at=START + np.sort(draw.integers(1, span, users) * arrives_late),
        span=span,
    )
    user, item, time = _draw_events(generator(seed, "events"), world, events, repeats)
    titles, texts = write(
        generator(seed, "item texts"), world.item_topics, text_signal, language, ITEM_WORDS
    )
    _, profiles = write(generator(seed, "user texts"), tastes[0], text_signal, language, USER_WORDS)
    searches, query = _searches(seed, queries, world.item_topics[item], text_signal, language)
    data = Dataset(
        name="simulated",
        domain="simulated",
        items=Items(tuple(f"i{i}" for i in range(items)), titles, texts, world.released_at),
        users=Users(tuple(f"u{u}" for u in range(users)), profiles, queries=searches),
        log=sorted_log(user, item, time, np.ones(events), np.ones(events, np.bool_), query=query),
        repeats=repeats,
        release="field",
        half_lives_days=(1.0, 7.0, 30.0),
    )
    return data, world


def _searches(
    seed: int,
    share: float,
    topics: Floats,
    text_signal: float,
    language: Literal["en", "zh", "both"],
) -> tuple[tuple[str, ...], Ints | None]:
    """The texts that were typed, and [E] which before each event, -1 for none; None for no texts.

    Args:
        topics: [E, K] of the item that is then taken.
    """
    if not share:
        return (), None
    draw = generator(seed, "queries")
    typed = draw.random(len(topics)) < share
    _, texts = write(draw, topics, text_signal, language, QUERY_WORDS)
    return coded(text if is_typed else "" for text, is_typed in zip(texts, typed, strict=True))


def _release_times(draw: Generator, n_items: int, n_new: int, span: int) -> Ints:
    """[N] ascending: older items up to one span before the start, new ones within an hour of a
    common burst."""
    old = START - draw.integers(1, span, n_items - n_new)
    n_bursts = max(MIN_BURSTS, span // BURST_EVERY)
    bursts = ((np.arange(n_bursts) + draw.random(n_bursts)) * span / n_bursts).astype(np.int64)
    new = START + draw.choice(bursts, n_new) + draw.integers(0, BURST_LENGTH, n_new)
    return np.sort(np.concatenate([old, np.minimum(new, START + span - 1)])).astype(np.int64)


def _draw_events(
    draw: Generator, world: SimulatedTruth, n_events: int, repeats: bool
) -> tuple[Ints, Ints, Ints]:
    """Users, items, times: [E] each, in time order."""
    n_users, n_items = len(world.arrived_at), len(world.released_at)
    time = START + np.sort(draw.integers(1, world.span, n_events))
    n_released = np.searchsorted(world.released_at, time)
    n_arrived = np.searchsorted(world.arrived_at, time)
    activity = np.cumsum(draw.lognormal(0, 0.5, n_users))
    user = np.searchsorted(
        activity, draw.random(n_events) * activity[n_arrived - 1], side="right"
    ).astype(np.int64)
    taste = world.taste(user, time)
    item = np.empty(n_events, np.int64)
    chance = draw.random(n_events)
    content = AFFINITY * _unit(world.item_topics)
    had = np.zeros((n_users, n_items), np.bool_)
    n_had = np.zeros(n_users, np.int64)
    for e in range(n_events):
        n = n_released[e]
        if n_had[user[e]] == n:  # nothing left to take: the event goes to the user with most choice
            user[e] = np.argmin(n_had[: n_arrived[e]])
            taste[e] = world.taste(user[e : e + 1], time[e : e + 1])
            if n_had[user[e]] == n:
                raise DataError(
                    f"event {e + 1} of {n_events}: nobody has an item left to take; fewer "
                    "dataset.events"
                )
        weight = np.exp(content[:n] @ taste[e] + world.popularity[:n])
        weight[had[user[e], :n]] = 0
        total = np.cumsum(weight)
        item[e] = np.searchsorted(total, chance[e] * total[-1], side="right")
        if not repeats:
            had[user[e], item[e]] = True
            n_had[user[e]] += 1
    return user, item, time


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit
