"""The loop against a naive one that goes second by second and never computes ahead; what it keeps
to, over generated streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.core.errors import ScoreError
from coldlm.core.seeding import generator
from coldlm.core.tables import UNKNOWN, Dataset, Ints, Items, Users, sorted_log
from coldlm.evaluate.judge import Judged, Views, judge
from coldlm.online.loop import Clock, Made, Scored, Stream, Update
from coldlm.online.moment import Moment
from coldlm.online.triggers import (
    AnyOf,
    Budget,
    Every,
    EveryN,
    EveryWindow,
    Never,
    OnNewItems,
    Trigger,
)
from coldlm.split.queries import ask

USERS, ITEMS, DAY = 5, 9, 86_400

NOTHING = Views(lambda times: np.zeros((len(times), ITEMS), np.float32), 4)
"""Views are looked at elsewhere."""


class OnLoss:
    """Fires when the mean of the losses that came since the last update is high: it wants them."""

    def __init__(self) -> None:
        self._losses: list[float] = []

    def ask(self, now: Moment) -> str:
        self._losses += now.losses().tolist()
        if len(self._losses) < 4 or np.mean(self._losses) < 0.4:
            return ""
        self._losses = []
        return "high loss"


TRIGGERS: dict[str, Callable[[], Trigger]] = {
    "never": Never,
    "every_window": EveryWindow,
    "every_n": lambda: EveryN(n=7),
    "every": lambda: Every(days=2.0),
    "on_new_items": lambda: OnNewItems(n=2),
    "budget": lambda: Budget(n=3, updates_per_day=1.0),
    "any_of": lambda: AnyOf(n=20, days=5.0, new_items=3),
    "on_loss": OnLoss,
}


@dataclass(frozen=True)
class World:
    data: Dataset
    catalogue: Catalogue
    queries: Any
    edges: Ints

    def clock(self, delay: int = 0) -> Clock:
        return Clock.of(self.data.log, self.queries, self.edges, delay)


def make_world(seed: int, events: int = 120, spread: int = 30) -> World:
    """A log of ``events`` within about ``spread`` seconds times 12 hours, many in one second."""
    draw = generator(seed, "stream")
    time = np.sort(draw.integers(0, spread, events)) * (DAY // 2)
    log = sorted_log(
        draw.integers(0, USERS, events),
        draw.integers(0, ITEMS, events),
        time,
        np.ones(events),
        draw.random(events) < 0.8,
    )
    texts = tuple("" for _ in range(ITEMS))
    ids = tuple(map(str, range(ITEMS)))
    data = Dataset(
        name="toy", domain="toy",
        items=Items(ids, texts, ids, np.zeros(ITEMS, np.int64)),
        users=Users(tuple(map(str, range(USERS))), ("",) * USERS),
        log=log, repeats=True, release="field", half_lives_days=(1.0, 7.0, 30.0),
    )  # fmt: skip
    catalogue = Catalogue(data)
    first = int(np.searchsorted(log.time, log.time[events // 3]))
    cuts = np.quantile(log.time[first:], [0, 0.3, 0.6]).astype(np.int64)
    edges = np.unique(np.r_[cuts, log.time[-1] + 1])
    edges[0] = log.time[first]
    return World(data, catalogue, ask(log, catalogue, np.arange(first, events), edges), edges)


@dataclass
class Toy:
    """A model whose weights are what it has learned from: scores are a function of them, the user,
    the time and the item, and of nothing else."""

    world: World
    latency: float = 0.0
    changes: bool = True
    learned: list[tuple[int, int]] = field(default_factory=list)

    def scorer(self, weights: int) -> Callable[[Ints, Ints], Tensor]:
        def score(users: Ints, times: Ints) -> Tensor:
            item = np.arange(ITEMS)[None, :]
            mixed = (
                users[:, None] * 31 + times[:, None] // 43_200 * 17 + item * 7 + weights * 13
            ) % 11
            return torch.from_numpy(mixed.astype(np.float32))

        return score

    def update(self, now: Moment, reason: str, version: int) -> Made[Any]:
        number = len(now.updates) + 1
        self.learned.append((now.learned, now.visible))
        rolled = number % 5 == 0
        times = self.world.data.log.time[now.learned : now.visible]
        made = Update(
            number=number, version=version - rolled, window=now.updated_in, trigger="", reason=reason,
            time=now.time, visible=now.visible, n_events=len(times), n_replayed=0,
            newest=int(times.max(initial=-1)), seconds=1.0, train_seconds=1.0, encode_seconds=0.0,
            latency=self.latency, live_at=now.time + self.latency, peak_memory_mb=0.0, bytes=0,
            loss_before=0.0, loss_after=0.0, probe_before=0.0, probe_after=0.0, rolled_back=rolled, why="",
        )  # fmt: skip
        weights = version if self.changes else 0
        return Made(None if rolled else self.scorer(weights), made)

    def judge(self, scorer: Any, first: int, last: int, since: int) -> Judged:
        w = self.world
        judged = judge(
            scorer, w.queries.slice(first, last), w.data, w.catalogue, NOTHING, name="toy"
        )
        return judged.rows(slice(int(w.queries.start[since] - w.queries.start[first]), None))

    def run(self, trigger: Trigger, delay: int = 0, **keys: Any) -> Stream[Any]:
        given = {
            "n_items": ITEMS,
            "first": self.scorer(0),
            "judge": self.judge,
            "update": self.update,
            **keys,
        }
        stream: Stream[Any] = Stream(self.world.clock(delay), self.world.queries, trigger, **given)
        stream.run()
        return stream


def naive(toy: Toy, trigger: Trigger, delay: int) -> tuple[list[int], list[float], list[Update]]:
    """Version and score of every positive, and the updates: every second by itself, with all that
    is visible looked up anew."""
    world, updates = toy.world, list[Update]()
    log, queries = world.data.log, world.queries
    start = int(world.edges[0])

    def visible(time: int) -> int:
        return sum(t < time and t + delay <= time for t in log.time.tolist())

    versions, scores, losses, told = [], list[float](), list[tuple[int, float]](), 0
    live, weights, coming = 0, 0, None
    n0 = visible(start)
    now = Moment(
        start, 0, n0, len(set(log.item[:n0].tolist())), lambda: np.zeros(0), start, 0, n0, 0
    )
    now.met_then = now.met
    for time in sorted({t for t in log.time.tolist() if t >= start}):
        if coming is not None and coming[1] <= time:
            live, weights, coming = coming[0], coming[0], None
        now.time, now.visible = time, visible(time)
        now.window = int(np.searchsorted(world.edges, time, side="right")) - 1
        now.met = len(set(log.item[: now.visible].tolist()))
        if coming is None:

            def new_losses(time: int = time, losses: Any = losses) -> np.ndarray:
                nonlocal told
                there = [loss for t, loss in losses if t < time and t + delay <= time]
                fresh, told = there[told:], len(there)
                return np.array(fresh)

            now.losses = new_losses
            if reason := trigger.ask(now):
                made = toy.update(now, reason, live + 1)
                updates.append(made.update)
                now.note_update(1.0)
                if not made.update.rolled_back:
                    coming = made.update.version, made.update.live_at
                    if coming[1] <= time:
                        live, weights, coming = coming[0], coming[0], None
        asked = queries.where(queries.time == time)
        if len(asked):
            judged = judge(
                toy.scorer(weights if toy.changes else 0),
                asked,
                world.data,
                world.catalogue,
                NOTHING,
                name="",
            )
            versions += [live] * len(judged.g)
            scores += judged.score.tolist()
            others = np.maximum(judged.candidates - 1, 1)
            losses += [(time, x) for x in ((judged.g + (judged.e - 1) / 2) / others).tolist()]
    return versions, scores, updates


@pytest.mark.parametrize("name", TRIGGERS)
@settings(max_examples=6)
@given(
    seed=st.integers(0, 10_000),
    delay=st.sampled_from([0, 1, DAY // 2, DAY, 3 * DAY]),
    latency=st.sampled_from([0.0, 1.0, DAY / 2, 2.0 * DAY]),
)
def test_it_is_the_naive_loop(name: str, seed: int, delay: int, latency: float) -> None:
    world = make_world(seed)
    one, other = Toy(world, latency), Toy(world, latency)
    stream = one.run(TRIGGERS[name](), delay)
    versions, scores, updates = naive(other, TRIGGERS[name](), delay)
    assert stream.scored.version.tolist() == versions
    assert stream.scored.judged.score.tolist() == scores
    assert stream.updates == updates
    assert one.learned == other.learned


@pytest.mark.parametrize("name", TRIGGERS)
@settings(max_examples=6)
@given(
    seed=st.integers(0, 10_000),
    delay=st.sampled_from([0, DAY]),
    latency=st.sampled_from([0.0, DAY]),
)
def test_nothing_is_learned_before_it_was_scored(
    name: str, seed: int, delay: int, latency: float
) -> None:
    world = make_world(seed)
    stream = Toy(world, latency).run(TRIGGERS[name](), delay)
    log, queries = world.data.log, world.queries
    time = log.time[queries.event]
    newest = np.full(len(stream.updates) + 1, -1)
    for update in stream.updates:
        assert update.newest < update.time
        assert update.newest + delay <= update.time
        if not update.rolled_back:
            newest[update.version] = max(update.newest, newest[update.version - 1])
    assert (newest[stream.scored.version] < time).all()
    # tie blocks are whole: everything of one second has one version
    assert all(len({*stream.scored.version[time == t].tolist()}) == 1 for t in set(time.tolist()))
    assert (stream.scored.since <= np.maximum(time, world.edges[0])).all()


@pytest.mark.parametrize("name", TRIGGERS)
def test_an_update_that_changes_nothing_changes_no_bit(name: str) -> None:
    world = make_world(3, events=400)
    still = Toy(world).run(Never())
    moved = Toy(world, changes=False).run(TRIGGERS[name]())
    for column in ("g", "e", "candidates", "score"):
        assert (
            getattr(moved.scored.judged, column).tolist()
            == getattr(still.scored.judged, column).tolist()
        )


def test_chunks_are_laid_out_as_if_the_version_never_changed() -> None:
    """Rows of one chunk are at the same place in it, whatever was scored before them."""
    world = make_world(5, events=900, spread=300)
    places: dict[int, set[tuple[int, int]]] = {}

    class Watched(Toy):
        def judge(self, scorer: Any, first: int, last: int, since: int) -> Judged:
            for q in range(since, last):
                places.setdefault(q, set()).add((first, (q - first) % 64))
            return super().judge(scorer, first, last, since)

    Watched(world).run(EveryN(n=5))
    whole = {q: (first % 64, place) for q, seen in places.items() for first, place in seen}
    assert len(whole) == len(world.queries)
    starts = np.flatnonzero(np.diff(world.queries.window, prepend=-1))
    for q, seen in places.items():
        begin = int(starts[starts <= q].max())
        assert {place for _, place in seen} == {(q - begin) % 64}


@pytest.mark.parametrize("name", TRIGGERS)
@settings(max_examples=6)
@given(seed=st.integers(0, 10_000), cut=st.integers(40, 110))
def test_what_is_behind_a_cut_changes_nothing_before_it(name: str, seed: int, cut: int) -> None:
    world = make_world(seed)
    time = int(world.data.log.time[cut])
    draw = generator(seed, "garbage")
    log = world.data.log
    late = log.time >= time
    garbage = sorted_log(
        np.where(late, draw.integers(0, USERS, len(log)), log.user),
        np.where(late, draw.integers(0, ITEMS, len(log)), log.item),
        np.where(late, np.maximum(time, draw.permutation(log.time)), log.time),
        log.label,
        np.where(late, draw.random(len(log)) < 0.5, log.positive),
    )
    data = replace(world.data, log=garbage)
    first = int(np.searchsorted(garbage.time, world.edges[0]))
    catalogue = Catalogue(data)
    queries = ask(garbage, catalogue, np.arange(first, len(garbage)), world.edges)
    other = World(data, catalogue, queries, world.edges)
    streams = [Toy(w).run(TRIGGERS[name]()) for w in (world, other)]
    early = [w.data.log.time[w.queries.event] < time for w in (world, other)]
    for column in ("version", "since"):
        one, two = (getattr(s.scored, column)[e] for s, e in zip(streams, early, strict=True))
        assert one.tolist() == two.tolist()
    one, two = ([u for u in s.updates if u.time <= time and u.newest < time] for s in streams)
    assert [u.row() for u in one if u.time < time] == [u.row() for u in two if u.time < time]


@pytest.mark.parametrize("name", TRIGGERS)
@settings(max_examples=6)
@given(seed=st.integers(0, 10_000), stop=st.integers(0, 20), latency=st.sampled_from([0.0, DAY]))
def test_going_on_from_any_rest_is_never_having_stopped(
    name: str, seed: int, stop: int, latency: float
) -> None:
    world = make_world(seed)
    kept: list[tuple[list[Update], Scored, Any]] = []

    def save(stream: Stream[Any]) -> None:
        stream.settle()
        if len(kept) <= stop:
            arrays = {f: getattr(stream.scored, f).copy() for f in ("version", "since", "latency")}
            columns = (field.name for field in fields(Judged))
            judged = Judged(*(getattr(stream.scored.judged, f).copy() for f in columns))
            scored = Scored(judged, **arrays, done=stream.position)
            kept.append((list(stream.updates), scored, stream.live.scorer))

    toy = Toy(world, latency)
    whole = toy.run(TRIGGERS[name](), at_rest=save)
    updates, scored, scorer = kept[-1]
    again = Toy(world, latency).run(TRIGGERS[name](), first=scorer, replayed=updates, scored=scored)
    assert again.updates == whole.updates
    for column in ("version", "since", "latency"):
        assert getattr(again.scored, column).tolist() == getattr(whole.scored, column).tolist()
    assert again.scored.judged.score.tolist() == whole.scored.judged.score.tolist()


def test_windows_are_told_with_the_version_that_ends_them() -> None:
    world = make_world(1)
    told: list[tuple[int, int]] = []
    Toy(world).run(EveryWindow(), at_window=lambda w, live: told.append((w, live.version)))
    assert told == [(w, w) for w in range(len(world.edges) - 1)]


def test_no_trigger_is_asked_while_an_update_is_on_its_way() -> None:
    world = make_world(2)
    asked: list[int] = []

    class Always:
        def ask(self, now: Moment) -> str:
            asked.append(now.time)
            return "always"

    updates = Toy(world, latency=2.0 * DAY).run(Always()).updates
    waits = np.diff(asked)[[not update.rolled_back for update in updates[:-1]]]
    assert waits.min() >= 2 * DAY
    assert np.diff(asked).min() < 2 * DAY  # one that was rolled back is not waited for


def test_a_score_that_is_not_finite_names_the_version() -> None:
    world = make_world(4)
    toy = Toy(world)
    toy.scorer = lambda weights: lambda users, times: torch.full((len(users), ITEMS), torch.nan)  # type: ignore[method-assign]
    with pytest.raises(ScoreError, match="model version 0: "):
        toy.run(Never())


def test_a_stream_without_events_is_done_at_once() -> None:
    world = make_world(0)
    nothing = {"queries": world.queries.slice(0, 0), "edges": np.array([UNKNOWN - 2, UNKNOWN - 1])}
    empty = replace(world, **nothing)
    assert Toy(empty).run(EveryN(n=1)).updates == []
