from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise, permutations
from math import log2

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score
from torch import Tensor
from torchmetrics.utilities import dim_zero_sum

from coldlm.core.columns import LIST_METRICS
from coldlm.core.compiled import SWITCH
from coldlm.core.errors import ScoreError
from coldlm.evaluate.metrics import (
    FORMULAS,
    list_values,
    mrr,
    ndcg,
    outranking,
    recall,
)
from coldlm.evaluate.ranking_metric import RankingMetric

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
    """The metric's mean over every order of the items in which no item stands before one that
    scores higher."""
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
    # items 2 and 3; all, the positive itself counted whether it is marked or not
    assert e.tolist() == [
        2,
        5,
    ]


@given(
    scores=st.lists(st.integers(0, 3), min_size=1, max_size=5), k=st.integers(1, 7), data=st.data()
)
def test_values_are_the_mean_over_all_orders_of_the_ties(
    scores: list[int], k: int, data: st.DataObject
) -> None:
    positive = data.draw(st.integers(0, len(scores) - 1))
    g, e = _places(scores, positive)
    for metric, formula in FORMULAS.items():
        assert _one(formula(g, e, k)) == pytest.approx(
            _mean_over_orders(metric, scores, positive, k), abs=1e-12
        )
    assert _one(mrr(g, e)) == pytest.approx(
        _mean_over_orders("mrr", scores, positive, 0), abs=1e-12
    )


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


def test_scores_whose_sum_overflows_are_finite_all_the_same() -> None:
    scores, everyone = torch.full((2, 4), 3e38), torch.ones(2, 4, dtype=torch.bool)
    g, e = outranking(scores, everyone, torch.tensor([0, 2]))
    assert (g.tolist(), e.tolist()) == ([0, 0], [4, 4])


def test_a_positive_is_checked_even_where_it_is_not_marked_and_other_items_only_where_they_are() -> (
    None
):
    scores, candidates = torch.zeros(1, 3), torch.tensor([[True, False, False]])
    scores[0, 1] = float("nan")
    assert outranking(scores, candidates, torch.tensor([2]))[1].item() == 2
    with pytest.raises(ScoreError, match="item 1 in row 0"):
        outranking(scores, candidates, torch.tensor([1]))


@pytest.fixture(params=["compiled", "side by side", "plain"])
def _ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setenv(SWITCH, "0" if request.param == "plain" else "1")
    if request.param == "side by side":
        monkeypatch.setattr("coldlm.evaluate.metrics.AT_ONCE", 0)
        torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_ways")
def test_every_way_of_counting_says_the_same() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 9, (7, 300), generator=draw).float()
    candidates = torch.rand((7, 300), generator=draw) < 0.6
    positive = torch.randint(0, 300, (7,), generator=draw)
    g, e = outranking(scores, candidates, positive)
    for p, own in enumerate(scores[range(7), positive].tolist()):
        others = scores[p, candidates[p] & (torch.arange(300) != positive[p])].tolist()
        assert g[p] == sum(score > own for score in others)
        assert e[p] == 1 + sum(score == own for score in others)
    scores[6, 299], candidates[6, 299] = float("inf"), False  # nobody asks
    assert outranking(scores, candidates, positive)[0].tolist() == g.tolist()
    candidates[6, 299] = True
    with pytest.raises(ScoreError, match="item 299 in row 6 is inf"):
        outranking(scores, candidates, positive)


# --- whole lists ------------------------------------------------------------------------------------------------------


def _published(order: list[bool], k: int) -> dict[str, float]:
    """What MIND's evaluation says of one order of the clicks and non-clicks, best first."""
    gains = [clicked / log2(rank + 1) for rank, clicked in enumerate(order, 1)]
    ideal = [1 / log2(rank + 1) for rank in range(1, sum(order) + 1)]
    pairs = [
        a < b
        for a, click in enumerate(order)
        if click
        for b, other in enumerate(order)
        if not other
    ]
    values = (
        sum(gains[:k]) / sum(ideal[:k]),
        sum(clicked / rank for rank, clicked in enumerate(order, 1)) / sum(order),
        float(np.mean(pairs)),
    )
    return dict(zip(LIST_METRICS, values, strict=True))


def _over_all_orders(scores: list[int], clicked: list[bool], k: int) -> dict[str, float]:
    orders = [
        [clicked[place] for place in order]
        for order in permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    values = [_published(order, k) for order in orders]
    return {name: float(np.mean([value[name] for value in values])) for name in LIST_METRICS}


def _shares(scores: list[int], clicked: list[bool], k: int) -> dict[str, Tensor]:
    """``list_values`` of one list, its arguments counted in plain Python."""
    clicks = [s for s, click in zip(scores, clicked, strict=True) if click]
    others = [s for s, click in zip(scores, clicked, strict=True) if not click]
    columns = [
        (
            sum(s > own for s in others),
            1 + sum(s == own for s in others),
            1 + len(others),
            sum(s > own for s in clicks),
            sum(s == own for s in clicks) - 1,
            len(clicks) - 1,
        )
        for own in clicks
    ]
    return list_values(*torch.tensor(columns).T, k=k)


lists = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=6)


@given(shown=lists, k=st.integers(1, 7))
def test_values_of_a_list_are_the_mean_over_all_orders_of_its_ties(
    shown: list[tuple[int, bool]], k: int
) -> None:
    scores, clicked = [s for s, _ in shown], [c for _, c in shown]
    assume(0 < sum(clicked) < len(clicked))
    values = {name: float(share.mean()) for name, share in _shares(scores, clicked, k).items()}
    assert values == pytest.approx(_over_all_orders(scores, clicked, k), abs=1e-12)


@given(clicked=st.lists(st.booleans(), min_size=2, max_size=6), k=st.integers(1, 7))
def test_a_constant_scorer_is_worth_a_random_one_in_every_list(clicked: list[bool], k: int) -> None:
    assume(0 < sum(clicked) < len(clicked))
    constant = {
        name: float(share.mean()) for name, share in _shares([0] * len(clicked), clicked, k).items()
    }
    # all orders of distinct scores
    random = [
        {name: float(share.mean()) for name, share in _shares(list(scores), clicked, k).items()}
        for scores in permutations(range(len(clicked)))
    ]
    assert constant == pytest.approx(
        {name: np.mean([r[name] for r in random]) for name in LIST_METRICS}, abs=1e-12
    )
    assert constant["auc/impression"] == 0.5


def test_a_list_by_hand() -> None:
    # ranks: other 1, click 2, click 3, other 4
    shares = _shares([9, 7, 5, 3], [False, True, True, False], 10)
    assert float(shares["ndcg/impression"].mean()) == pytest.approx(
        (1 / log2(3) + 1 / 2) / (1 + 1 / log2(3))
    )
    assert float(shares["mrr/impression"].mean()) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert shares["auc/impression"].tolist() == [0.5, 0.5]
    assert float(
        _shares([9, 7, 5, 3], [False, True, True, False], 2)["ndcg/impression"].mean()
    ) == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))


def test_lists_without_ties_agree_with_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        n = int(draw.integers(2, 40))
        scores, clicked = draw.permutation(n), draw.permutation(np.arange(n) < draw.integers(1, n))
        shares = _shares(scores.tolist(), clicked.tolist(), 5)
        assert float(shares["auc/impression"].mean()) == pytest.approx(
            roc_auc_score(clicked, scores), abs=1e-12
        )
        ndcg_5 = ndcg_score(clicked[None].astype(float), scores[None].astype(float), k=5)
        assert float(shares["ndcg/impression"].mean()) == pytest.approx(ndcg_5, abs=1e-12)


def test_lists_with_ties_agree_with_scikit_learn_which_averages_them_too() -> None:
    draw = np.random.default_rng(1)
    for _ in range(50):
        scores, clicked = (
            draw.integers(0, 4, 20),
            draw.permutation(np.arange(20) < draw.integers(1, 20)),
        )
        shares = _shares(scores.tolist(), clicked.tolist(), 10)
        assert float(shares["auc/impression"].mean()) == pytest.approx(
            roc_auc_score(clicked, scores), abs=1e-12
        )
        ndcg_10 = ndcg_score(clicked[None].astype(float), scores[None].astype(float), k=10)
        assert float(shares["ndcg/impression"].mean()) == pytest.approx(ndcg_10, abs=1e-12)


# --- averages ---------------------------------------------------------------------------------------------------------


def _rows(
    n: int = 12, n_items: int = 9, n_users: int = 4
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
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
    scores, positive, user = (
        torch.tensor([[1.0, 9.0, 9.0, 0.0]]),
        torch.tensor([0]),
        torch.tensor([0]),
    )
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
