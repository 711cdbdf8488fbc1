"""What is asked of a scorer, and which users and items are cold."""

from __future__ import annotations

import numpy as np

from coldlm.candidates import Catalogue
from coldlm.tables import TRAIN, VALIDATION, Bools, Dataset, Ints, Log, Queries, Split


def ask(log: Log, catalogue: Catalogue, rows: Ints, edges: Ints | None = None) -> Queries:
    """The queries of the log's ``rows``: one per (user, time) block of positives.

    Two kinds of positives are revealed to histories but not asked, and counted under their own names: items without a
    release time at their very first event (nobody could have ranked what is not yet a candidate), and, where items do
    not repeat, items that the user already had.
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
    order = np.lexsort((rows, user, time))
    rows, user, time = rows[order], user[order], time[order]
    new = np.ones(len(rows), bool)
    new[1:] = (user[1:] != user[:-1]) | (time[1:] != time[:-1])
    begin = np.flatnonzero(new)
    window = np.full(len(begin), -1) if edges is None else np.searchsorted(edges, time[begin], side="right") - 1
    start = np.append(begin, len(rows)).astype(np.int64)
    return Queries(user[begin], time[begin], window.astype(np.int64), start, rows, counts)


def trainable(log: Log, catalogue: Catalogue, rows: Ints) -> Ints:
    """Those of the log's ``rows``, of any label, whose item was a candidate for their user at their time."""
    unmeasurable, gone, repeated = _unanswerable(log, catalogue, rows)
    return rows[~(unmeasurable | gone | repeated)]


def _unanswerable(log: Log, catalogue: Catalogue, rows: Ints) -> tuple[Bools, Bools, Bools]:
    """Which of the events ``rows`` have an item that had not entered, had left, or that the user already had."""
    user, item, time = log.user[rows], log.item[rows], log.time[rows]
    repeated = np.zeros(len(rows), bool) if catalogue.repeats else catalogue.has_had(user, item, time)
    return catalogue.enters_at[item] > time, catalogue.leaves_at[item] <= time, repeated


def cold(data: Dataset, split: Split) -> tuple[Bools, Bools]:
    """([U], [N]) users and items without any positive event in train + validation; frozen for the whole stream."""
    past = data.log.rows(split.rows(TRAIN, VALIDATION))
    users, items = np.ones(len(data.users), bool), np.ones(len(data.items), bool)
    users[past.user[past.positive]] = False
    items[past.item[past.positive]] = False
    return users, items


def others_would_drop(queries: Queries, log: Log, cold_users: Bools, cold_items: Bools, n_user: Ints) -> dict[str, int]:
    """How many of these positives the usual evaluators delete: unseen users, unseen items, empty histories.

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
