"""What is asked of a scorer, and which users and items are cold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from coldlm.asof.catalogue import Catalogue
from coldlm.core.errors import DataError
from coldlm.core.seeding import generator, uniform
from coldlm.core.tables import (
    TRAIN,
    UNKNOWN,
    VALIDATION,
    Bools,
    Dataset,
    Impressions,
    Ints,
    Log,
    Parts,
    Queries,
    Split,
)


def ask(log: Log, catalogue: Catalogue, rows: Ints, edges: Ints | None = None) -> Queries:
    """Return the queries of the log's ``rows``: one per (user, time, text typed) block of positives.

    Two kinds of positives are revealed to histories but not asked, and counted under their own
    names: items without a release time at their very first event (nobody could have ranked what is
    not yet a candidate), and, where items do not repeat, items that the user already had.
    """
    rows = rows[log.positive[rows]]
    unmeasurable, gone, repeated = _unanswerable(log, catalogue, rows)
    counts = {
        "first event of an item without a release time": int(unmeasurable.sum()),
        "item past its time to live": int((gone & ~unmeasurable).sum()),
        "repeat of an item the user had": int((repeated & ~unmeasurable & ~gone).sum()),
    }
    rows = rows[~(unmeasurable | gone | repeated)]
    user, time = log.user[rows], log.time[rows]
    typed = np.full(len(rows), -1) if log.query is None else log.query[rows]
    order = np.lexsort((rows, typed, user, time))
    rows, user, time, typed = rows[order], user[order], time[order], typed[order]
    new = np.ones(len(rows), bool)
    new[1:] = (user[1:] != user[:-1]) | (time[1:] != time[:-1]) | (typed[1:] != typed[:-1])
    begin = np.flatnonzero(new)
    window = (
        np.full(len(begin), -1)
        if edges is None
        else np.searchsorted(edges, time[begin], side="right") - 1
    )
    start = np.append(begin, len(rows)).astype(np.int64)
    return Queries(user[begin], time[begin], window.astype(np.int64), start, rows, counts)


def ask_lists(log: Log, lists: Impressions, rows: Ints, edges: Ints | None = None) -> Queries:
    """Return the queries of the log's ``rows``, a stretch of time, among the lists as they were
    shown: one per list that holds a click and something else.

    Nothing is taken from a list and nothing is added: an item may be new to the catalogue, or had
    already. Positives that no such list holds are not asked and counted. One event is asked twice
    where two lists of one second show it.

    Raises:
        DataError: a click that is no positive event of the log.
    """
    first, last = int(rows[0]), int(rows[-1]) + 1
    end = int(log.time[last]) if last < len(log) else UNKNOWN
    lists = lists.slice(*np.searchsorted(lists.time, (log.time[first], end)).tolist())
    row = _rows_of_clicks(log, lists)
    asks = _asks(lists)
    asked = row[np.repeat(asks, lists.n_clicked)]
    positive = rows[log.positive[rows]]
    counts = {
        "in a list of clicks alone": len(np.setdiff1d(row, asked)),
        "outside the lists": len(np.setdiff1d(positive, row)),
    }
    lists = lists.where(asks)
    window = (
        np.full(len(lists), -1)
        if edges is None
        else np.searchsorted(edges, lists.time, side="right") - 1
    )
    start = np.append(0, np.cumsum(lists.n_clicked)).astype(np.int64)
    return Queries(lists.user, lists.time, window.astype(np.int64), start, asked, counts, lists)


def draw(queries: Queries, number: int | None) -> Queries:
    """Return at most ``number`` of the queries, the same in every run over them: the seed is
    nobody's. Positives of those left out are counted.

    A sample of what is asked, not of the candidates: every one that is asked is ranked among all of
    them.
    """
    if number is None or len(queries) <= number:
        return queries
    keep = np.zeros(len(queries), bool)
    keep[generator(0, "drawn queries").permutation(len(queries))[:number]] = True
    drawn = queries.where(keep)
    left_out = len(np.setdiff1d(queries.event, drawn.event))
    return replace(drawn, counts=drawn.counts | {"of a query that was not drawn": left_out})


def on_probe(log: Log, parts: Sequence[Queries], share: float) -> Bools:
    """Return [E] the events of the probe: those of a ``share`` of the queries of these parts, drawn
    for each query alone, so that what comes later cannot change who is on it. The same in every
    run over them."""
    on = np.zeros(len(log), bool)
    for queries in parts:
        if len(queries):
            drawn = uniform(0, "probe", queries.event[queries.start[:-1]]) < share
            on[queries.event[np.repeat(drawn, np.diff(queries.start))]] = True
    return on


def count_lists(lists: Impressions, since: int) -> dict[str, int]:
    """Return how many lists were shown from the second ``since`` on, and how many of them ask
    nothing, by reason."""
    lists = lists.slice(int(np.searchsorted(lists.time, since)), len(lists))
    without = int((lists.n_clicked == 0).sum())
    return {
        "shown": len(lists),
        "without a click": without,
        "of clicks alone": len(lists) - without - int(_asks(lists).sum()),
    }


def _asks(lists: Impressions) -> Bools:
    """[L] whether each list holds a click and something else."""
    asks: Bools = (lists.n_clicked > 0) & (lists.n_clicked < np.diff(lists.start))
    return asks


def _rows_of_clicks(log: Log, lists: Impressions) -> Ints:
    """The row of the log of every click, in the order of the lists."""
    key = ("user", "item", "time")
    rows = np.flatnonzero(log.positive)
    events = pl.DataFrame({name: getattr(log, name)[rows] for name in key} | {"row": rows})
    owner = lists.owner[lists.clicked]
    clicks = pl.DataFrame(
        {"user": lists.user[owner], "item": lists.item[lists.clicked], "time": lists.time[owner]},
        schema=dict.fromkeys(key, pl.Int64),
    )
    found = clicks.join(events.unique(key, keep="first"), on=key, how="left", maintain_order="left")
    if lost := found.filter(pl.col("row").is_null()).rows(named=True):
        raise DataError(
            f"{len(lost):,} clicks of lists are no positive event of the log, the first of user "
            f"code {lost[0]['user']} "
            f"on item code {lost[0]['item']} at time {lost[0]['time']}: a click must be an event "
            "of its list's second"
        )
    return found["row"].to_numpy()


def trainable(log: Log, catalogue: Catalogue, rows: Ints) -> Ints:
    """Return those of the log's ``rows``, of any label, whose item was a candidate for their user
    at their time."""
    unmeasurable, gone, repeated = _unanswerable(log, catalogue, rows)
    return rows[~(unmeasurable | gone | repeated)]


def _unanswerable(log: Log, catalogue: Catalogue, rows: Ints) -> tuple[Bools, Bools, Bools]:
    """Which of the events ``rows`` have an item that had not entered, had left, or that the user
    already had."""
    user, item, time = log.user[rows], log.item[rows], log.time[rows]
    repeated = (
        np.zeros(len(rows), bool) if catalogue.repeats else catalogue.has_had(user, item, time)
    )
    return catalogue.enters_at[item] > time, catalogue.leaves_at[item] <= time, repeated


def cold(data: Dataset, split: Split) -> tuple[Bools, Bools]:
    """Return ([U], [N]) users and items without any positive event in train + validation; frozen
    for the whole stream."""
    past = data.log.rows(split.rows(TRAIN, VALIDATION))
    users, items = np.ones(len(data.users), bool), np.ones(len(data.items), bool)
    users[past.user[past.positive]] = False
    items[past.item[past.positive]] = False
    return users, items


def seen_queries(data: Dataset, split: Split) -> Parts | None:
    """Return [E] 1 where the text that was typed at an event was typed in train + validation too, 0
    where not, -1 where nothing was typed; frozen for the whole stream as ``cold`` is. None where the
    data have no such texts."""
    typed = data.log.query
    if typed is None:
        return None
    seen = np.zeros(len(data.users.queries) + 1, np.int8)
    seen[typed[split.rows(TRAIN, VALIDATION)]] = 1
    seen[-1] = -1  # of code -1
    return seen[typed]


def count_queries(data: Dataset, seen: Parts | None, queries: Queries) -> dict[str, int]:
    """Return how many different texts were typed, in all and in train + validation (``seen``: see
    ``seen_queries``); and of the ``queries`` how many there are, were typed, and were typed before. {}
    where the data have no such texts."""
    typed = data.log.query
    if typed is None or seen is None:
        return {}

    def distinct(codes: Ints) -> int:
        return len({data.users.queries[code] for code in np.unique(codes)})

    asked = seen[queries.event[queries.start[:-1]]]
    return {
        "distinct": distinct(typed[typed >= 0]),
        "distinct in train + validation": distinct(typed[seen == 1]),
        "asked": len(asked),
        "typed": int((asked >= 0).sum()),
        "typed before": int((asked == 1).sum()),
    }


def others_would_drop(
    queries: Queries, log: Log, cold_users: Bools, cold_items: Bools, n_user: Ints
) -> dict[str, int]:
    """Return how many of these positives the usual evaluators delete: unseen users, unseen items,
    empty histories.

    Args:
        n_user: [Q] earlier positives of each query's user.
    """
    size = np.diff(queries.start)
    user = np.repeat(cold_users[queries.user], size)
    item = cold_items[log.item[queries.event]]
    empty = np.repeat(n_user == 0, size)
    return {
        "unseen user": int(user.sum()),
        "unseen item": int(item.sum()),
        "empty history": int(empty.sum()),
        "any": int((user | item | empty).sum()),
        "of": len(item),
    }
