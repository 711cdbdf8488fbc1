"""The leak meter: counts what a run saw of the future. Every count is 0 under the time split.

It recounts from the raw columns of the log with plain comparisons, and shares no code with what it checks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coldlm.candidates import Catalogue
from coldlm.context import FEATURES, SCALE, AsOf
from coldlm.seeding import generator
from coldlm.tables import DAY, UNKNOWN, Bools, Dataset, Ints, Queries, Split


def meter(
    data: Dataset,
    split: Split,
    queries: Queries,
    trained_rows: Ints,
    as_of: AsOf,
    catalogue: Catalogue,
    *,
    history: int = 20,
    sample: int = 100,
    seed: int = 0,
) -> dict[str, int]:
    """Count leaks.

    Args:
        queries: of the stream.
        trained_rows: row numbers of the log that the weights used for the first window were trained on.
        as_of, catalogue: the very objects that scorers and training use.
        sample: how many queries, drawn with ``seed``, are recounted event by event.

    Returns:
        ``late_training``: training events not earlier than the start of the stream. ``early_candidates``: candidates
        neither released nor seen before the query. ``late_texts``: candidates whose text is not older than the query.
        ``future_history``: entries of the history that differ from the
        user's last earlier positives. ``future_counts``: items whose count, decayed counts or context as of the query
        differ from the recount.
    """
    log = data.log
    leaks = {
        "late_training": int((log.time[trained_rows] >= split.edges[0]).sum()),
        "early_candidates": 0,
        "late_texts": 0,
        "future_history": 0,
        "future_counts": 0,
    }
    drawn = generator(seed, "leak meter").permutation(len(queries))[:sample]
    for q in np.sort(drawn):
        user, time = queries.user[q : q + 1], queries.time[q : q + 1]
        earlier = log.time < time[0]
        known = np.where(data.items.released_at == UNKNOWN, False, data.items.released_at <= time[0])
        known[log.item[earlier]] = True
        if data.slot is not None:  # the rule lets an item in with the slot of its first event
            known[log.item[log.time // data.slot <= time[0] // data.slot]] = True
        candidates = catalogue.mask(user, time)[0]
        leaks["early_candidates"] += int((candidates & ~known).sum())
        if data.text_known_at is not None:
            late = data.text_known_at >= time[0]
            if data.slot is not None:  # the rule lets in, with an item, what is written of it in its first slot
                late &= data.text_known_at // data.slot != catalogue.enters_at // data.slot
            leaks["late_texts"] += int((candidates & late).sum())
        mine = log.item[earlier & log.positive & (log.user == user[0])][::-1][:history]
        expected = np.pad(mine, (0, history - len(mine)), constant_values=-1)
        leaks["future_history"] += int((as_of.history(user, time, history)[0] != expected).sum())
        leaks["future_counts"] += int(_miscounted(data, as_of, time).sum())
    return leaks


def _miscounted(data: Dataset, as_of: AsOf, time: Ints) -> Bools:
    """[N] items of which ``as_of`` says at ``time`` [1], in any of its ways, something else than the earlier events."""
    log, n_items = data.log, len(data.items)
    every_item = np.arange(n_items)
    rows = np.flatnonzero((log.time < time[0]) & log.positive)
    number = np.bincount(log.item[rows], minlength=n_items)
    if data.slot is not None:
        first = np.full(n_items, UNKNOWN, np.int64)
        np.minimum.at(first, log.item, log.time)
        masked = (first // data.slot == time[0] // data.slot) & (data.items.released_at == UNKNOWN)
        rows = rows[~masked[log.item[rows]]]
    count = np.bincount(log.item[rows], minlength=n_items)
    context = dict(zip(FEATURES, as_of.features(time, every_item)[:, 0], strict=True))
    wrong: Bools = (as_of.n_item(every_item, time) != number) | (as_of.counts(time)[0] != count)
    wrong |= (context["is_new"] == 1) != (count == 0)
    wrong |= _differs(context["count"], count)
    days = (time[0] - log.time[rows]) / DAY
    for h, half_life in enumerate(data.half_lives_days):
        decayed = np.bincount(log.item[rows], 0.5 ** (days / half_life), n_items)
        wrong |= _differs(context[FEATURES[h]], decayed)
        wrong |= _differs(np.log1p(as_of.decayed_counts(time, h)[0]) / SCALE, decayed)
    return wrong


def _differs(scaled_log: NDArray[np.floating], count: NDArray[np.generic]) -> Bools:
    """[N] whether a plane of the context is not that of ``count``, beyond what float32 may round."""
    equal: Bools = np.isclose(scaled_log, np.log1p(count) / SCALE, rtol=0, atol=5e-6)
    return ~equal
