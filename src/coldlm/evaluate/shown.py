"""What lists of the best k hold, whoever took what: how many items are shown at all, how new and how
popular they are, and how alike. Shapes: Q lists of k places, N items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.seeding import generator
from coldlm.core.tables import Bools, Dataset, Floats, Ints, Queries
from coldlm.evaluate.judge import ScoreFunction, scored

NOWHERE = -1
"""Item of a place behind the end of a list: fewer candidates than places."""

AT_ONCE = 256
"""Queries whose catalogues are looked at together."""


@dataclass(frozen=True)
class Lists:
    """``item``: [Q, k] int64 codes, best first, ``NOWHERE`` behind the end. ``score``: [Q, k] float64."""

    item: Ints
    score: Floats

    @cached_property
    def there(self) -> Bools:
        """[Q, k] whether a place holds an item."""
        found: Bools = self.item != NOWHERE
        return found


def show(
    scorer: ScoreFunction,
    queries: Queries,
    data: Dataset,
    catalogue: Catalogue,
    k: int,
    *,
    name: str,
) -> Lists:
    """Return the lists of the best ``k`` of C(t), what is asked for among them. Items that are level
    stand in a random order, drawn for each user and time alone: a constant scorer shows what a random
    one shows.

    Raises:
        ScoreError: as ``judge`` does.
    """
    item = np.full((len(queries), k), NOWHERE, np.int64)
    score = np.zeros((len(queries), k))
    parts = [(i, min(i + 64, len(queries))) for i in range(0, len(queries), 64)]
    for (first, _), chunk in scored(scorer, queries, data, catalogue, name, parts):
        scores, candidates, positive, rows = chunk
        candidates[rows, positive] = True
        for row in range(len(scores)):
            user = data.users.ids[queries.user[first + row]]
            draw = generator(0, "ties", user, queries.time[first + row])
            best = _best(scores[row], candidates[row], k, draw)
            item[first + row, : len(best)] = best
            score[first + row, : len(best)] = scores[row][torch.from_numpy(best)].numpy()
    return Lists(item, score)


def _best(scores: Tensor, candidates: Tensor, k: int, draw: np.random.Generator) -> Ints:
    """The codes of the best ``k`` candidates, best first."""
    there = candidates.nonzero()[:, 0]
    own = scores[there]
    if len(there) > k:
        least = own.topk(k).values[-1]
        there = there[own >= least]
        own = scores[there]
    order = np.lexsort((draw.random(len(there)), -own.numpy()))[:k]
    best: Ints = there.numpy()[order]
    return best


def describe(
    lists: Lists,
    queries: Queries,
    catalogue: Catalogue,
    as_of: AsOf,
    shelf: int,
    cold_items: Bools,
    words: Any,
) -> dict[str, float]:
    """Return what the lists hold:

    - ``coverage``, ``coverage/cold_item``: share of the items that were candidates of some of these
      queries that some list shows; the same of cold items. It grows with the number of lists.
    - ``share/shelf``, ``share/cold_item``: of all places, those with an item on the shelf; with a cold
      one.
    - ``gini``: of how often each of those candidates is shown, 0 all alike, 1 one alone.
    - ``novelty``: mean over places of -log2 p_i(t), bits, with p_i(t) = (n_i(t) + 1) / sum over j of
      (n_j(t) + 1) (Vargas and Castells 2011, "Rank and relevance in novelty and diversity metrics for
      recommender systems", section 4.1, of what a random event would show).
    - ``popularity``: mean n_i(t) of the places over that of the candidates; 1 is no lift.
    - ``diversity``: mean over lists of 1 - cosine of two of its items' words (Ziegler et al. 2005,
      "Improving recommendation lists through topic diversification", section 3.3).

    Args:
        shelf: up to how many events an item is on the shelf.
        cold_items: [N].
        words: [N, W] scipy.sparse, rows of length 1 or 0.
    """
    n = len(catalogue)
    seen, open_ = np.zeros(n, np.int64), np.zeros(n, bool)
    there = lists.there
    known = np.zeros(lists.item.shape)
    surprise, usual = np.zeros(lists.item.shape), 0.0
    for begin in range(0, len(queries), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        users, times, items = queries.user[part], queries.time[part], lists.item[part]
        candidates, counts = catalogue.mask(users, times), as_of.counts(times)
        open_ |= candidates.any(0)
        known[part] = np.take_along_axis(counts, np.maximum(items, 0), 1)
        whole = (counts + 1).sum(1, keepdims=True)
        surprise[part] = -np.log2((known[part] + 1) / whole)
        usual += float(((counts * candidates).sum(1) / np.maximum(candidates.sum(1), 1)).sum())
    np.add.at(seen, lists.item[there], 1)
    open_ |= seen > 0
    return {
        "coverage": _share(seen > 0, open_),
        "coverage/cold_item": _share((seen > 0) & cold_items, open_ & cold_items),
        "share/shelf": float((known[there] <= shelf).mean()),
        "share/cold_item": float(cold_items[lists.item[there]].mean()),
        "gini": _gini(seen[open_]),
        "novelty": float(surprise[there].mean()),
        "popularity": float(known[there].mean()) / max(usual / len(queries), 1e-12),
        "diversity": _diversity(lists, words),
    }


def _share(part: Bools, whole: Bools) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")


def _gini(counts: Ints) -> float:
    """Gini's coefficient of [M] counts, (M + 1 - 2 sum_i (M + 1 - i) x_(i) / sum x) / M."""
    ordered, m = np.sort(counts), len(counts)
    below = float(((m - np.arange(m)) * ordered).sum())
    return (m + 1 - 2 * below / float(ordered.sum())) / m


def _diversity(lists: Lists, words: Any) -> float:
    """Over lists of two items and more; the sum over pairs is that of the sum's square."""
    from scipy.sparse import csr_matrix

    there = lists.there
    row, _ = np.nonzero(there)
    pick = csr_matrix((np.ones(len(row)), (row, lists.item[there])), (len(there), words.shape[0]))
    squares = np.asarray(words.multiply(words).sum(1))[:, 0]
    together = pick @ words
    both = np.asarray(together.multiply(together).sum(1))[:, 0] - pick @ squares
    size = there.sum(1)
    pairs = size * (size - 1)
    long = pairs > 0
    return float(1 - (both[long] / pairs[long]).mean()) if long.any() else float("nan")
