"""Metrics of whole queries, against every order of the ties."""

from __future__ import annotations

from itertools import permutations
from math import log2

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coldlm.core.columns import BASKET_COLUMNS, BASKET_METRICS
from coldlm.evaluate.baskets import OF_EACH, OF_THE_BEST, Basket
from coldlm.evaluate.positives import with_metrics


def _by_hand(ranked: list[int], n: int, k: int) -> dict[str, float]:
    """Each metric of one order; the items below ``n`` are the basket."""
    found = [r for r, item in enumerate(ranked[:k], 1) if item < n]
    best = sum(1 / log2(r + 1) for r in range(1, min(n, k) + 1))
    return {
        "ndcg": sum(1 / log2(r + 1) for r in found) / best,
        "recall": len(found) / n,
        "precision": len(found) / k,
        "map": sum((i + 1) / r for i, r in enumerate(found)) / min(n, k),
        "hit": float(bool(found)),
        "mrr": 1 / found[0] if found else 0.0,
    }


def _basket(scores: list[int], n: int) -> Basket:
    rows = []
    for i in range(n):
        others = [scores[j] for j in range(n) if j != i]
        rest = scores[n:]
        above, level = (
            [sum(is_so(x) for x in part) for part in (rest, others)]
            for is_so in (lambda x, i=i: x > scores[i], lambda x, i=i: x == scores[i])
        )
        rows.append((above[0], level[0] + 1, above[1], level[1], len(others)))
    return Basket(*torch.tensor(rows).T)


@given(st.lists(st.integers(0, 3), min_size=4, max_size=7), st.integers(1, 3), st.integers(1, 6))
def test_a_basket_is_ranked_whole(scores: list[int], n: int, k: int) -> None:
    orders = [
        _by_hand(sorted(order, key=lambda i: -scores[i]), n, k)  # stable: ties stay as drawn
        for order in permutations(range(len(scores)))
    ]
    basket = _basket(scores, n)
    for name, of_basket in OF_EACH.items():
        found = float(of_basket(basket, k).mean())
        assert found == pytest.approx(np.mean([order[name] for order in orders])), name
    for name, of_basket in OF_THE_BEST.items():
        best = of_basket(basket, k)[basket.above == 0]
        assert best.numpy() == pytest.approx(np.mean([order[name] for order in orders])), name


def test_a_query_has_one_hit_and_one_first_whatever_its_positives() -> None:
    """Two positives at ranks 2 and 12, and a query with one at rank 3."""
    events = pl.DataFrame(
        {"query": [0, 0, 1], "g": [1, 10, 2], "e": [1, 1, 1], "candidates": [50, 50, 50]}
        | dict(zip(BASKET_COLUMNS, ([0, 1, 0], [0, 0, 0], [1, 1, 0]), strict=True))
    )
    scored = with_metrics(events, 10)
    assert scored["hit/basket"].to_list() == [1, 1, 1]
    assert scored["mrr/basket"].to_list() == pytest.approx([1 / 2, 1 / 2, 1 / 3])
    assert scored["recall/basket"].to_list() == [1, 0, 1]
    assert scored["precision/basket"].to_list() == pytest.approx([0.2, 0, 0.1])
    assert scored["map/basket"].to_list() == pytest.approx([1 / 2, 0, 1 / 3])
    assert {f"{name}/basket" for name in OF_EACH | OF_THE_BEST} == set(BASKET_METRICS)


def test_of_one_positive_map_is_mrr_and_recall_is_hit_to_the_last_bit() -> None:
    g = torch.arange(40) % 13
    e, none = torch.arange(40) % 4 + 1, torch.zeros(40, dtype=torch.int64)
    basket = Basket(g, e, none, none, none)
    assert torch.allclose(OF_EACH["map"](basket, 10), OF_THE_BEST["mrr"](basket, 10), 1e-14, 1e-15)
    assert torch.allclose(OF_EACH["recall"](basket, 10), OF_THE_BEST["hit"](basket, 10), 1e-12, 0)


def test_thousands_of_ties_are_counted_to_the_last_digit() -> None:
    """A constant scorer over 10,000 items with 5 positives: a hypergeometric draw of ten."""
    column = torch.full((5,), 9996), torch.zeros(5), torch.full((5,), 4), torch.full((5,), 4)
    e, above, level, others = (x.long() for x in column)
    basket = Basket(torch.zeros(5).long(), e, above, level, others)
    none = np.prod([(9995 - i) / (10_000 - i) for i in range(10)])
    assert OF_THE_BEST["hit"](basket, 10).numpy() == pytest.approx(1 - none, rel=1e-6)
    assert OF_EACH["recall"](basket, 10).numpy() == pytest.approx(10 / 10_000)
