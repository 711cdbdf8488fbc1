"""The classifier's own report: its AUC, and precision, recall and F1 of each class. Shapes: E
labelled pairs, P positives."""

from __future__ import annotations

import numpy as np
import polars as pl

from coldlm.asof.catalogue import Catalogue
from coldlm.core.seeding import generator
from coldlm.core.tables import Bools, Dataset, Floats, Ints, Queries

THRESHOLD = 0.5
"""Of the probability: from it on a pair is said to be taken."""

CLASSES = ("not taken", "taken")

EXPLICIT, DRAWN = "the data's own negatives", "one uniform draw from C(t) per positive"


def labelled_pairs(
    queries: Queries, rows: Ints, data: Dataset, catalogue: Catalogue
) -> tuple[Ints, Ints, Ints, str]:
    """Return ([E] who asked, [E] items, [E] times) of what is classified: the positives of ``queries``,
    then their negatives; and what those are, ``EXPLICIT`` or ``DRAWN``. The draws are the same in
    every run over these queries.

    Args:
        rows: of the log, of any label, in the part that the queries are of; those that are not
            positive are negatives, as large a share of them as the queries hold of the part's
            positives.
    """
    log, rng = data.log, generator(0, "labelled pairs")
    positive = np.unique(queries.event)
    negative = rows[~log.positive[rows]]
    if len(negative):
        asked = len(positive) / max(int(log.positive[rows].sum()), 1)
        chosen = np.sort(
            rng.permutation(negative)[: max(1, round(min(asked, 1.0) * len(negative)))]
        )
        both = np.concatenate([positive, chosen])
        return data.who_took(both), log.item[both], log.time[both], EXPLICIT
    users, times, items = log.user[positive], log.time[positive], np.full(len(positive), -1)
    for p in range(len(positive)):
        open_ = catalogue.mask(users[p : p + 1], times[p : p + 1])[0]
        open_[log.item[(log.user == users[p]) & (log.time == times[p])]] = False
        if open_.any():
            items[p] = rng.choice(np.flatnonzero(open_))
    found, who = items >= 0, data.who_took(positive)
    who, time = np.concatenate([who, who[found]]), np.concatenate([times, times[found]])
    return who, np.concatenate([log.item[positive], items[found]]), time, DRAWN


def report(probability: Floats, taken: Bools) -> pl.DataFrame:
    """Return one row per class of ``CLASSES``: ``precision``, ``recall``, ``f1`` and ``support``
    (its pairs), at ``THRESHOLD``. A precision of nothing is 0.

    Args:
        probability: [E] that a pair is taken.
        taken: [E] whether it was.

    >>> report(np.array([0.9, 0.6, 0.2, 0.5]), np.array([True, False, False, True])).rows()
    [('not taken', 1.0, 0.5, 0.6666666666666666, 2), ('taken', 0.6666666666666666, 1.0, 0.8, 2)]
    """
    said = probability >= THRESHOLD
    rows = []
    for name, actual, claimed in zip(CLASSES, (~taken, taken), (~said, said), strict=True):
        hit = int((actual & claimed).sum())
        precision, recall = hit / max(int(claimed.sum()), 1), hit / max(int(actual.sum()), 1)
        f1 = 2 * precision * recall / (precision + recall) if hit else 0.0
        rows.append((name, precision, recall, f1, int(actual.sum())))
    return pl.DataFrame(
        rows, schema=["class", "precision", "recall", "f1", "support"], orient="row"
    )


def area(probability: Floats, taken: Bools) -> float:
    """Return the share of (taken, not taken) pairs of which the taken one is said to be likelier, ties
    by half: the area under the ROC curve, for which no threshold need be right. It is nan without
    one of the classes.

    Args:
        probability: [E] that a pair is taken.
        taken: [E] whether it was.

    >>> area(np.array([0.9, 0.6, 0.2, 0.2]), np.array([True, False, False, True]))
    0.625
    """
    places = pl.Series(probability).rank("average").to_numpy()
    yes, no = int(taken.sum()), int((~taken).sum())
    return (
        float((places[taken].sum() - yes * (yes + 1) / 2) / (yes * no))
        if yes and no
        else float("nan")
    )
