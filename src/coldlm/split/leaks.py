"""The leak meter: counts what a run saw of the future. Every count is 0 under the time split.

It recounts from the raw columns of the log with plain comparisons, and shares no code with what it
checks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import FEATURES, SCALE, AsOf
from coldlm.core.columns import LATE_TEXTS
from coldlm.core.seeding import generator
from coldlm.core.tables import DAY, UNKNOWN, Bools, Dataset, Ints, Queries, Split


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
        trained_rows: row numbers of the log that the weights used for the first window were trained
            on.
        as_of, catalogue: the very objects that scorers and training use.
        sample: how many queries, drawn with ``seed``, are recounted event by event.

    Returns:
        ``late_training``: training events not earlier than the start of the stream.
        ``early_candidates``: candidates neither released nor seen before the query. ``late_texts``:
        candidates whose text is not older than the query; not there where texts have no date, and
        nobody can check.
        ``future_history``: entries of the history that differ from the user's last earlier
            positives.
        ``future_counts``: items whose count, decayed counts or context as of the query differ from
            the recount.
    """
    log = data.log
    leaks = {
        "late_training": int((log.time[trained_rows] >= split.edges[0]).sum()),
        "early_candidates": 0,
        "future_history": 0,
        "future_counts": 0,
    }
    if data.text_known_at is not None:
        leaks[LATE_TEXTS] = 0
    drawn = generator(seed, "leak meter").permutation(len(queries))[:sample]
    for q in np.sort(drawn):
        user, time = queries.user[q : q + 1], queries.time[q : q + 1]
        earlier = log.time < time[0]
        candidates = catalogue.mask(user, time)[0]
        leaks["early_candidates"] += int((candidates & ~_entered(data, time[0])).sum())
        if LATE_TEXTS in leaks:
            leaks[LATE_TEXTS] += int((candidates & _written_late(data, catalogue, time[0])).sum())
        mine = log.item[earlier & log.positive & (log.user == user[0])][::-1][:history]
        expected = np.pad(mine, (0, history - len(mine)), constant_values=-1)
        leaks["future_history"] += int((as_of.history(user, time, history)[0] != expected).sum())
        leaks["future_counts"] += int(_miscounted(data, as_of, time).sum())
    return leaks


def release_facts(data: Dataset) -> dict[str, float | None]:
    """Return what release times have to do with events: a release that was made of the first event
    gives away who is about to be taken, and one that comes behind events is no release.

    Returns:
        ``at_release``: share of the items that enter after the log began and are ever taken, whose
        first event is in the very second of their release. ``before_release``: share of the events
        of items with a known release that are earlier than it. None where there are no such items.
    """
    log, released = data.log, data.items.released_at
    first = np.full(len(released), UNKNOWN)
    np.minimum.at(first, log.item, log.time)
    known = released != UNKNOWN
    told = known & (first != UNKNOWN) & (released > log.time[0])
    events = known[log.item]
    early = log.time[events] < released[log.item[events]]
    return {
        "at_release": float((first[told] == released[told]).mean()) if told.any() else None,
        "before_release": float(early.mean()) if events.any() else None,
    }


def selection_facts(data: Dataset) -> dict[str, int]:
    """Return the fewest events, over the whole log, of any item and of any user that has one:
    ``least_of_item``, ``least_of_user``. Above one they were kept for what came later, as in a k-core: a
    new item is then one that *will* have so many."""
    return {
        f"least_of_{name}": int(np.unique(codes, return_counts=True)[1].min())
        for name, codes in (("item", data.log.item), ("user", data.log.user))
    }


def late_idf(
    data: Dataset,
    split: Split,
    catalogue: Catalogue,
    idf: Mapping[str, float],
    words: Callable[[str], Sequence[str]],
) -> int:
    """Words whose inverse document frequency is not that of the texts known by T_test: ln((1 + n) /
    (1 + n_word)) + 1 over those n texts (scikit-learn's smoothed form).

    Args:
        idf: of every word of the baseline's vocabulary, the very values that it scores with.
        words: a text in lower case -> its words.
    """
    known = _entered(data, split.t_test) & ~_written_late(data, catalogue, split.t_test)
    texts = [set(words(data.items.texts[i].lower())) for i in np.flatnonzero(known)]
    number = Counter(word for text in texts for word in text)
    expected = {word: math.log((1 + len(texts)) / (1 + number[word])) + 1 for word in idf}
    return sum(not math.isclose(value, expected[word], rel_tol=1e-9) for word, value in idf.items())


def _entered(data: Dataset, time: int) -> Bools:
    """[N] items released by ``time``, or met before it; on a grid, in its slot or before."""
    log, unknown = data.log, data.items.released_at == UNKNOWN
    known: Bools = ~unknown & (data.items.released_at <= time)
    known[log.item[log.time < time]] = True
    if data.slot is not None:
        known[log.item[(log.time // data.slot <= time // data.slot) & unknown[log.item]]] = True
    return known


def _written_late(data: Dataset, catalogue: Catalogue, time: int) -> Bools:
    """[N] items whose text is not older than ``time``. What is written in the slot in which an item
    enters is let in with it, by the grid rule."""
    if data.text_known_at is None:
        return np.zeros(len(data.items), np.bool_)
    late: Bools = data.text_known_at >= time
    if data.slot is not None:
        late &= data.text_known_at // data.slot != catalogue.enters_at // data.slot
    return late


def _miscounted(data: Dataset, as_of: AsOf, time: Ints) -> Bools:
    """[N] items of which ``as_of`` says at ``time`` [1], in any of its ways, something else than
    the earlier events."""
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
    """[N] whether a plane of the context is not that of ``count``, beyond what float32 may
    round."""
    equal: Bools = np.isclose(scaled_log, np.log1p(count) / SCALE, rtol=0, atol=5e-6)
    return ~equal
