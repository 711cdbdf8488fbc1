from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, permutations
from math import log2

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.utilities import dim_zero_sum

from coldlm.errors import ScoreError
from coldlm.evaluate.metrics import FORMULAS, RankingMetric, mrr, ndcg, outranking, recall

GAINS: dict[str, Callable[[int], float]] = {
    "recall": lambda rank: 1.0,
    "ndcg": lambda rank: 1 / log2(rank + 1),
    "mrr": lambda rank: 1 / rank,
}
"""What a positive at a rank, from 1 on, is worth within the first k."""


def _one(value: Tensor) -> float:
    assert value.shape == (1,)
    assert value.dtype == torch.float64
    return float(value)


def _mean_over_orders(metric: str, scores: list[int], positive: int, k: int) -> float:
    """The metric's mean over every order of the items in which no item stands before one that scores higher."""
    values = []
    for order in permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in pairwise(order)):
            rank = order.index(positive) + 1
            values.append(GAINS[metric](rank) if rank <= k or k == 0 else 0.0)
    return float(np.mean(values))


def _places(scores: list[int], positive: int) -> tuple[Tensor, Tensor]:
    row = torch.tensor([scores], dtype=torch.float32)
    return outranking(row, torch.ones_like(row, dtype=torch.bool), torch.tensor([positive]))


def test_places_of_a_toy_by_eye() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0, 2.0, 9.0], [5.0, 5.0, 5.0, 5.0, 5.0]])
    candidates = torch.tensor([[True, True, True, True, False], [True, False, True, True, True]])
    g, e = outranking(scores, candidates, torch.tensor([2, 1]))
    assert g.tolist() == [1, 0]  # item 0 is above; item 4 is no candidate
    assert e.tolist() == [2, 5]  # items 2 and 3; all, the positive itself counted whether it is marked or not


@given(scores=st.lists(st.integers(0, 3), min_size=1, max_size=5), k=st.integers(1, 7), data=st.data())
def test_values_are_the_mean_over_all_orders_of_the_ties(scores: list[int], k: int, data: st.DataObject) -> None:
    positive = data.draw(st.integers(0, len(scores) - 1))
    g, e = _places(scores, positive)
    for metric, formula in FORMULAS.items():
        assert _one(formula(g, e, k)) == pytest.approx(_mean_over_orders(metric, scores, positive, k), abs=1e-12)
    assert _one(mrr(g, e)) == pytest.approx(_mean_over_orders("mrr", scores, positive, 0), abs=1e-12)


@pytest.mark.parametrize("k", [1, 3, 6, 9])
@pytest.mark.parametrize("metric", sorted(FORMULAS))
def test_a_constant_scorer_is_worth_exactly_a_random_order(metric: str, k: int) -> None:
    n = 6
    g, e = _places([0] * n, 4)
    random = sum(GAINS[metric](rank) for rank in range(1, min(n, k) + 1)) / n
    assert _one(FORMULAS[metric](g, e, k)) == pytest.approx(random, rel=1e-15)


@pytest.mark.parametrize("rank", [1, 2, 4, 10, 11, 500])
def test_without_ties_the_values_are_the_textbook_ones(rank: int) -> None:
    g, e = torch.tensor([rank - 1]), torch.tensor([1])
    assert _one(recall(g, e, 10)) == (rank <= 10)
    assert _one(ndcg(g, e, 10)) == pytest.approx(1 / log2(rank + 1) if rank <= 10 else 0, abs=1e-15)
    assert _one(mrr(g, e)) == pytest.approx(1 / rank, abs=1e-15)
    assert _one(mrr(g, e, 10)) == pytest.approx(1 / rank if rank <= 10 else 0, abs=1e-15)


def test_a_cut_beyond_the_catalogue_finds_everything() -> None:
    g, e = _places([3, 2, 2, 1], 1)
    assert _one(recall(g, e, 1000)) == 1
    assert _one(ndcg(g, e, 1000)) == pytest.approx((1 / log2(3) + 1 / log2(4)) / 2)
    assert _one(mrr(g, e, 1000)) == _one(mrr(g, e))


def test_mrr_of_no_row_is_empty() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert mrr(nothing, nothing).shape == (0,)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("item", [1, 2])
def test_a_score_that_is_not_finite_is_refused_with_row_and_item(bad: float, item: int) -> None:
    scores, candidates = torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.bool)
    scores[1, item] = bad
    with pytest.raises(ScoreError, match=rf"item {item} in row 1 is {bad}"):
        outranking(scores, candidates, torch.tensor([0, 2]))


def test_a_positive_is_checked_even_where_it_is_not_marked_and_other_items_only_where_they_are() -> None:
    scores, candidates = torch.zeros(1, 3), torch.tensor([[True, False, False]])
    scores[0, 1] = float("nan")
    assert outranking(scores, candidates, torch.tensor([2]))[1].item() == 2
    with pytest.raises(ScoreError, match="item 1 in row 0"):
        outranking(scores, candidates, torch.tensor([1]))


def _rows(n: int = 12, n_items: int = 9, n_users: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Scores with ties, candidates, positives, users and shares of ``n`` rows; user 3 has none."""
    draw = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 4, (n, n_items), generator=draw).float()
    candidates = torch.rand(n, n_items, generator=draw) < 0.7
    positive = torch.randint(0, n_items, (n,), generator=draw)
    user = torch.randint(0, n_users - 1, (n,), generator=draw)
    share = torch.tensor([1.0, 0.5, 0.5, 1.0] * (n // 4))
    return scores, candidates, positive, user, share


def _plain(metric: str, k: int, average: str) -> float:
    scores, candidates, positive, user, share = _rows()
    value = FORMULAS[metric](*outranking(scores, candidates, positive), k)
    by_user = []
    for u in set(user.tolist()):
        mine = user == u
        by_user.append((float((value * share)[mine].sum()), float(share[mine].sum())))
    if average == "macro":
        return float(np.mean([total / weight for total, weight in by_user]))
    return sum(total for total, _ in by_user) / sum(weight for _, weight in by_user)


@pytest.mark.parametrize("average", ["macro", "micro"])
@pytest.mark.parametrize(("metric", "k"), [("ndcg", 3), ("recall", 3), ("mrr", 0)])
def test_the_metric_equals_the_plain_averages(metric: str, k: int, average: str) -> None:
    whole = RankingMetric(metric, k, 4, average)  # type: ignore[arg-type]
    whole.update(*_rows())
    assert float(whole.compute()) == pytest.approx(_plain(metric, k, average), rel=1e-12)


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_two_halves_and_two_ranks_equal_the_whole(average: str) -> None:
    whole, halves, rank0, rank1 = (RankingMetric("ndcg", 3, 4, average) for _ in range(4))  # type: ignore[arg-type]
    rows = _rows()
    first, second = ([column[part] for column in rows] for part in (slice(5), slice(5, None)))
    whole.update(*rows)
    halves.update(*first)
    halves.update(*second)
    rank0.update(*first)
    rank1.update(*second)
    assert set(rank0.metric_state) == {"total", "weight"}
    for state in rank0.metric_state:
        # what torch.distributed does between ranks
        assert rank0._reductions[state] is dim_zero_sum
        setattr(rank0, state, getattr(rank0, state) + getattr(rank1, state))
    for other in (halves, rank0):
        assert float(other.compute()) == pytest.approx(float(whole.compute()), rel=1e-12)


def test_a_row_without_a_share_counts_fully() -> None:
    metric, (scores, candidates, positive, user, _) = RankingMetric("ndcg", 3, 4, "micro"), _rows()
    metric.update(scores, candidates, positive, user)
    value = ndcg(*outranking(scores, candidates, positive), 3)
    assert float(metric.compute()) == pytest.approx(float(value.mean()), rel=1e-12)


def test_items_that_are_no_candidates_do_not_count() -> None:
    scores, positive, user = torch.tensor([[1.0, 9.0, 9.0, 0.0]]), torch.tensor([0]), torch.tensor([0])
    for candidates, expected in (([True] * 4, 1 / log2(4)), ([True, False, False, True], 1.0)):
        metric = RankingMetric("ndcg", 10, 1)
        metric.update(scores, torch.tensor([candidates]), positive, user)
        assert float(metric.compute()) == pytest.approx(expected)


def test_a_metric_forgets_on_reset_and_is_nan_without_a_row() -> None:
    metric = RankingMetric("ndcg", 3, 4)
    metric.update(*_rows())
    metric.reset()
    with pytest.warns(UserWarning, match="before"):
        assert bool(metric.compute().isnan())
