"""The leak meter: counts what a run saw of the future. Every count is 0 under the time split.

It recounts from the raw columns of the log with plain comparisons, and shares no code with what it checks.
"""

from __future__ import annotations

import numpy as np

from coldlm.candidates import Catalogue
from coldlm.context import AsOf
from coldlm.seeding import generator
from coldlm.tables import UNKNOWN, Dataset, Ints, Queries, Split


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
        ``late_training``: training events not earlier than the first stream event. ``early_candidates``: candidates
        neither released nor seen before the query. ``future_history``: history entries that are not among the user's
        earlier positives. ``future_counts``: items whose count as of the query differs from the recount.
    """
    log = data.log
    leaks = {
        "late_training": int((log.time[trained_rows] >= split.edges[0]).sum()),
        "early_candidates": 0,
        "future_history": 0,
        "future_counts": 0,
    }
    drawn = generator(seed, "leak meter").permutation(len(queries))[:sample]
    every_item = np.arange(len(data.items))
    for q in np.sort(drawn):
        user, time = queries.user[q : q + 1], queries.time[q : q + 1]
        earlier = log.time < time[0]
        known = np.where(data.items.released_at == UNKNOWN, False, data.items.released_at <= time[0])
        known[log.item[earlier]] = True
        leaks["early_candidates"] += int((catalogue.mask(user, time)[0] & ~known).sum())
        mine = log.item[earlier & log.positive & (log.user == user[0])]
        seen = as_of.history(user, time, history)[0]
        leaks["future_history"] += int((~np.isin(seen[seen >= 0], mine)).sum())
        recount = np.bincount(log.item[earlier & log.positive], minlength=len(data.items))
        leaks["future_counts"] += int((as_of.n_item(every_item, time) != recount).sum())
    return leaks
