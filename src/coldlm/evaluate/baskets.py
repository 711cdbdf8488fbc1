"""Metrics of all positives of a query at once, none left out for another: what is published of
baskets, and of people who are asked for everything that was held back of them.

Each is its expectation over a random order of the ties (McSherry and Najork 2008, "Computing
information retrieval performance measures efficiently in the presence of tied scores", ECIR), and
each positive has a share, whose mean over the positives of a query is the query's value. With G =
g + above candidates above a positive and E = e + level at its score, itself included, its rank is
uniform on G+1 .. G+E; P = others + 1 positives are in the query.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from coldlm.evaluate.metrics import ndcg, recall


@dataclass(frozen=True)
class Basket:
    """``g``, ``e``: [P] candidates strictly above each positive and tied (itself included), the other
    positives of its query left out. ``above``, ``level``, ``others``: [P] other positives of the
    query strictly above, level, and in all."""

    g: Tensor
    e: Tensor
    above: Tensor
    level: Tensor
    others: Tensor

    @property
    def rank(self) -> tuple[Tensor, Tensor]:
        """G and E."""
        return self.g + self.above, self.e + self.level

    @property
    def size(self) -> Tensor:
        """P, float64."""
        return (self.others + 1).double()


def basket_ndcg(basket: Basket, k: int) -> Tensor:
    """Return the share in nDCG@k, with gains of one (Jaervelin and Kekaelaeinen 2002)."""
    # at best the positives share the first places: the mean of their gains is the ideal one over P
    best = ndcg(torch.zeros_like(basket.others), basket.others + 1, k)
    return ndcg(*basket.rank, k) / best


def basket_recall(basket: Basket, k: int) -> Tensor:
    """Return the share in Recall@k: found over P."""
    return recall(*basket.rank, k)


def basket_precision(basket: Basket, k: int) -> Tensor:
    """Return the share in Precision@k: found over k."""
    return recall(*basket.rank, k) * basket.size / k


def basket_map(basket: Basket, k: int) -> Tensor:
    """Return the share in AP@k = 1/min(P, k) * sum over positives at ranks R <= k of (1 + positives
    above) / R. Of L ties that are positives, (r - 1) L / (E - 1) are expected above the place r of E."""
    # whole numbers divide in 32 bits
    above, among = (x.double() for x in basket.rank)
    found = torch.zeros(len(above), dtype=torch.float64)
    for r in range(1, k + 1):
        ahead = basket.above + basket.level * (r - 1) / (among - 1).clamp(min=1)
        there = (r <= among) & (above + r <= k)
        found += torch.where(there, (1 + ahead) / (above + r), 0.0)
    return found / among * basket.size / basket.size.clamp(max=k)


def basket_hit(basket: Basket, k: int) -> Tensor:
    """Return, of the query's best positives (``above`` 0), whether one of them is within the first k:
    1 - C(E - p, x) / C(E, x), with p of them at one score and x of its places left."""
    above, among = basket.rank
    best, places = basket.level + 1, (k - above).clamp(min=0).minimum(among)
    return 1 - (_choose(among - best, places) - _choose(among, places)).exp()


def basket_mrr(basket: Basket, k: int) -> Tensor:
    """Return, of the query's best positives, 1 / rank of the first within k, else 0: it stands r-th at
    their score with probability C(E - r, p - 1) / C(E, p)."""
    above, among = (x.double() for x in basket.rank)
    best = basket.level.double() + 1
    whole, found = _choose(among, best), torch.zeros(len(above), dtype=torch.float64)
    for r in range(1, k + 1):
        first = (_choose(among - r, best - 1) - whole).exp()
        found += torch.where(above + r <= k, first / (above + r), 0.0)
    return found


OF_EACH = {
    "ndcg": basket_ndcg,
    "recall": basket_recall,
    "precision": basket_precision,
    "map": basket_map,
}
"""Metric -> share of each positive."""

OF_THE_BEST = {"hit": basket_hit, "mrr": basket_mrr}
"""Metric -> value of the whole query, right for its best positives alone: of a slice by items it is
that of the whole query too."""


def _choose(n: Tensor, r: Tensor) -> Tensor:
    """log C(n, r), minus infinity where there is no way."""
    can = (r <= n) & (r >= 0)
    n, r = torch.where(can, n, 0).double(), torch.where(can, r, 0).double()
    ways = torch.lgamma(n + 1) - torch.lgamma(r + 1) - torch.lgamma(n - r + 1)
    return torch.where(can, ways, -torch.inf)
