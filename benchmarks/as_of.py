"""Histories, counts, context and cohorts of a log of a million events, each compared with a recount
on a sample.

The sum is over each event's own user and item. What an epoch of training asks besides, the context
of *all* items of a batch as of every time in it, is some hundred times as many values, and stands
on a line of its own.

Usage: python benchmarks/as_of.py [events]
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import FEATURES, SCALE, AsOf
from coldlm.core.seeding import generator
from coldlm.core.tables import DAY, STREAM, UNKNOWN, Dataset, Items, Users, sorted_log
from coldlm.split import cuts
from coldlm.split.queries import ask, cold

HISTORY = 20
CHECKED = 200
BATCH = 256


def make(n_events: int) -> Dataset:
    """A made-up log with popular and rare items and users, half of the items released by a stated
    time."""
    rng = generator(0, "benchmark")
    n_users, n_items = n_events // 20, n_events // 50
    user = (n_users * rng.random(n_events) ** 2).astype(np.int64)
    item = (n_items * rng.random(n_events) ** 3).astype(np.int64)
    log = sorted_log(
        user,
        item,
        rng.integers(0, 365 * DAY, n_events),
        np.ones(n_events),
        rng.random(n_events) < 0.8,
    )
    names = tuple(map(str, range(max(n_users, n_items))))
    released = np.where(np.arange(n_items) % 2, 0, UNKNOWN)
    items = Items(names[:n_items], names[:n_items], names[:n_items], released)
    users = Users(names[:n_users], ("",) * n_users)
    return Dataset("made up", "made up", items, users, log, True, "field", (1.0, 7.0, 30.0))


def main() -> None:
    """Time each step once, check it, print a line per step."""
    n_events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    data = make(n_events)
    seconds: dict[str, float] = {}

    def timed(name: str, begin: float) -> None:
        seconds[name] = time.perf_counter() - begin

    begin = time.perf_counter()
    catalogue = Catalogue(data)
    split = cuts.time(data.log)
    timed("catalogue and split", begin)
    begin = time.perf_counter()
    sizes = len(data.users), len(data.items)
    as_of = AsOf(
        data.log, *sizes, catalogue.enters_at, data.half_lives_days, catalogue.masked_until
    )
    timed("as-of index", begin)
    begin = time.perf_counter()
    queries = ask(data.log, catalogue, split.rows(STREAM), split.edges)
    cold_users, cold_items = cold(data, split)
    timed("queries and cohorts", begin)
    begin = time.perf_counter()
    log = data.log
    history = as_of.history(log.user, log.time, HISTORY)
    n_user, n_item = as_of.n_user(log.user, log.time), as_of.n_item(log.item, log.time)
    timed("histories and counts of all events", begin)
    begin = time.perf_counter()
    context = as_of.own_features(log.time, log.item)
    timed("context of every event's own item", begin)
    begin = time.perf_counter()
    in_batches = _context_in_batches(as_of, log.time, log.item)
    epoch = time.perf_counter() - begin
    assert np.abs(in_batches - context).max() < 1e-5
    _check(data, as_of, history, n_user, n_item, context)
    assert (cold_users.sum(), cold_items.sum()) == _recounted_cold(
        data, len(data.log) - len(split.rows(STREAM))
    )
    for name, value in seconds.items():
        print(f"{name:<50}{value:8.2f} s")
    print(f"{f'batches of {BATCH}: all their items at all times':<50}{epoch:8.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{'in all but the line above':<50}{sum(seconds.values()):8.2f} s")
    print(f"{n_events:,} events, {len(queries):,} queries, {peak:.1f} GB")


def _context_in_batches(as_of: AsOf, times: np.ndarray, items: np.ndarray) -> np.ndarray:
    """[F, E] context of each event's item as of its time, picked out of what training batches ask
    for."""
    out = np.empty((len(FEATURES), len(times)), np.float32)
    for first in range(0, len(times), BATCH):
        part = slice(first, first + BATCH)
        codes, column = np.unique(items[part], return_inverse=True)
        out[:, part] = as_of.features(times[part], codes)[:, np.arange(len(column)), column]
    return out


def _check(
    data: Dataset,
    as_of: AsOf,
    history: np.ndarray,
    n_user: np.ndarray,
    n_item: np.ndarray,
    context: np.ndarray,
) -> None:
    """Compare a sample of events with plain recounts of the raw columns."""
    log = data.log
    for e in generator(1, "benchmark").integers(0, len(log), CHECKED):
        earlier = (log.time < log.time[e]) & log.positive
        mine = log.item[earlier & (log.user == log.user[e])][::-1][:HISTORY]
        assert history[e].tolist() == [*mine.tolist(), *[-1] * (HISTORY - len(mine))]
        assert n_user[e] == (earlier & (log.user == log.user[e])).sum()
        own = earlier & (log.item == log.item[e])
        assert n_item[e] == own.sum()
        days = (log.time[e] - log.time[own]) / DAY
        for h, half_life in enumerate(data.half_lives_days):
            expected = np.log1p((0.5 ** (days / half_life)).sum()) / SCALE
            assert abs(context[h, e] - expected) < 5e-6


def _recounted_cold(data: Dataset, n_past: int) -> tuple[int, int]:
    past = data.log.rows(slice(n_past))
    seen = past.rows(past.positive)
    return len(data.users) - len(set(seen.user.tolist())), len(data.items) - len(
        set(seen.item.tolist())
    )


if __name__ == "__main__":
    main()
