"""Re-ranking by hand. The encoder is a table: the logit of (user, item) is written down, so every
order can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import SCALE, AsOf
from coldlm.core.seeding import torch_seed
from coldlm.core.tables import Dataset, Ints
from coldlm.models.pair import Pair
from coldlm.models.rankers.pairwise import PairRanker, PairSnapshot, above

MakeData = Callable[..., Dataset]


class Table(nn.Module):
    """The vector of a pair is (number of the newest item or -1, length of the text, item).
    ``asked``: pairs read."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()), requires_grad=False)
        self.body, self.items = SimpleNamespace(tokenizer=None), ()
        self.asked: list[tuple[int, int]] = []

    def forward(self, texts: Sequence[str], history: Ints, row: Ints, item: Ints) -> Tensor:
        self.asked += list(zip(row.tolist(), item.tolist(), strict=True))
        rows = [
            [float(history[r, 0]), float(len(texts[r])), float(i)]
            for r, i in zip(row, item, strict=True)
        ]
        return self.weight * torch.tensor(rows).reshape(-1, 3)


class Fixed:
    """A first stage that likes low numbers, in pairs: 0 and 1 tie, 2 and 3 tie, ..."""

    def __init__(self, n: int) -> None:
        self.scores = -(torch.arange(n) // 2).float()

    def __call__(self, users: Ints, times: Ints) -> Tensor:
        return self.scores.expand(len(users), -1)

    def answer(self, time: int, *, text: str = "", history: Sequence[int] = ()) -> Tensor:
        return self.scores


@pytest.fixture
def data(make_data: MakeData) -> Dataset:
    """Eight items, released at 0 but for item 7, at 100; user 0 took item 2 at 10."""
    released = dict.fromkeys(range(7), 0) | {7: 100}
    return make_data(
        [(0, 2, 10), (1, 4, 20)], users=3, released=released, profiles=["", "", "four"]
    )


def make(data: Dataset, **keys: Any) -> PairRanker:
    with torch_seed(0):
        head = Pair(3, **{"context": "off", "rerank": 3, "history": 2, **keys})
    if head.uses_text:
        with torch.no_grad():
            head.logit.weight.copy_(torch.tensor([[10.0, 100.0, 1.0]]))
            head.logit.bias.zero_()
    return PairRanker(Table(), head, lambda as_of: Fixed(len(data.items))).eval()


def take(model: PairRanker, data: Dataset, rows: int = 2) -> PairSnapshot:
    catalogue = Catalogue(data)
    sizes = len(data.users), len(data.items)
    as_of = AsOf(data.log.rows(slice(rows)), *sizes, catalogue.enters_at, data.half_lives_days)
    return PairSnapshot(model, as_of, data.users, catalogue)


def test_the_best_candidates_get_their_logit_and_the_rest_stay_below_with_their_ties(
    data: Dataset,
) -> None:
    scores = take(make(data, rerank=3), data)(np.array([0]), np.array([50]))[0]
    # 2 was had and 7 is not released: the first stage says 0 = 1, 3, 4 = 5, 6 among the candidates
    read = [0, 1, 3]
    assert scores[read].tolist() == [20.0, 21.0, 23.0]  # newest item 2, no text, its own number
    assert scores[4] == scores[5] < 20
    assert scores[6] < scores[5]


def test_a_tie_at_the_cut_is_not_broken_by_the_order_of_the_catalogue(data: Dataset) -> None:
    snapshot = take(make(data, rerank=1), data)
    chosen = {int(snapshot.best(torch.zeros(8), np.arange(8) != gone)[0]) for gone in range(8)}
    assert chosen != {0, 1}
    assert len(chosen) == 2  # the first of a fixed order, or the second where that one is gone


def test_a_user_without_anything_is_scored_and_a_profile_is_read(data: Dataset) -> None:
    snapshot = take(make(data), data)
    unknown = snapshot(np.array([1]), np.array([5]))[0]
    assert unknown[:2].tolist() == [-10.0, -9.0]
    profile = snapshot(np.array([2]), np.array([5]))[0]
    assert profile[:2].tolist() == [390.0, 391.0]
    assert torch.equal(snapshot.answer(5, text="four"), profile)
    assert snapshot.answer(5, history=[2])[:2].tolist() == [20.0, 21.0]
    assert snapshot.answer(5, history=[2])[2] < 20  # had: no candidate, so it is not read


def test_each_pair_is_read_once_however_often_its_query_is_repeated(data: Dataset) -> None:
    snapshot = take(make(data), data)
    reader = snapshot._model.encoder
    reader.asked.clear()
    scores = snapshot(np.array([0, 1, 0, 0]), np.array([50, 50, 50, 60]))
    assert len(reader.asked) == 9
    assert torch.equal(scores[0], scores[2])


def test_another_memory_and_later_training_change_what_they_should(data: Dataset) -> None:
    model = make(data)
    snapshot = take(model, data)
    ask = np.array([0]), np.array([50])
    before = snapshot(*ask)
    with torch.no_grad():
        model.head.logit.weight.mul_(2)
    assert torch.equal(snapshot(*ask), before)
    assert not torch.equal(take(model, data)(*ask), before)
    forgot = snapshot.remembering(
        AsOf(data.log.rows(slice(0)), 3, 8, np.zeros(8, np.int64), data.half_lives_days)
    )
    assert forgot(*ask)[0, :2].tolist() == [-10.0, -9.0]


def test_only_what_was_drawn_is_read_in_training(data: Dataset) -> None:
    model, off = make(data), -torch.inf
    batch: Any = SimpleNamespace(
        items=torch.tensor([1, 3, 4]),
        columns=torch.tensor([2, 0]),  # items 4 and 1
        history=torch.tensor([[1, 0], [-1, -1]]),  # items 3, then 1
        texts=("ab",),
        text=torch.tensor([-1, 0]),
        log_weight=torch.tensor([[off, 0.0], [off, off]]),
        positive=torch.tensor([0, 1]),
        features=torch.zeros(6, 2, 2),
    )
    logits = model(batch)
    assert logits.tolist() == [[34.0, 31.0], [0.0, 191.0]]
    assert model.encoder.asked == [(0, 0 + 4), (0, 1), (1, 1)]


def test_the_control_without_text_re_ranks_by_context_alone(data: Dataset) -> None:
    model = make(data, context="only")
    snapshot = take(model, data)
    scores = snapshot(np.array([0]), np.array([50]))[0]
    assert snapshot._model.encoder.asked == []
    features = torch.from_numpy(snapshot._as_of.features(np.array([50]), np.array([0, 1, 3])))
    torch.testing.assert_close(scores[[0, 1, 3]], model.head.fusion.context(features)[0].detach())


@pytest.mark.parametrize("fusion", ["add", "gate"])
def test_context_joins_the_logit_in_training_as_in_serving(data: Dataset, fusion: str) -> None:
    model = make(data, context="on", fusion=fusion)
    with torch.no_grad():
        for p in model.head.fusion.parameters():
            p.normal_()
    snapshot = take(model, data)
    scores = snapshot(np.array([0]), np.array([50]))[0]
    read = [0, 1, 3]
    logit = torch.tensor([[20.0, 21.0, 23.0]])
    features = torch.from_numpy(snapshot._as_of.features(np.array([50]), np.array(read)))
    context = model.head.fusion.context(features)
    by_hand = logit + context
    if fusion == "gate":
        count = torch.full((1, 1, 3), np.log1p(1) / SCALE)  # user 0 took one item
        g = torch.sigmoid(model.head.fusion.gate(torch.cat([features, count])))
        by_hand = 2 * g * logit + 2 * (1 - g) * context
    torch.testing.assert_close(scores[read][None], by_hand.detach())
    batch: Any = SimpleNamespace(
        items=torch.tensor([0, 1, 2, 3]),
        columns=torch.tensor([0, 1, 3]),
        history=torch.tensor([[2, -1]]),
        texts=(),
        text=torch.tensor([-1]),
        log_weight=torch.zeros(1, 3),
        positive=torch.tensor([0]),
        features=features,
    )
    torch.testing.assert_close(model(batch).detach(), scores[read][None])


def test_where_nothing_is_left_nothing_is_read(data: Dataset) -> None:
    snapshot = take(make(data, context="on", fusion="gate"), data)
    assert snapshot.logits(50, "", np.array([2, -1]), np.array([], np.int64)).shape == (0,)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.data())
def test_what_is_not_read_keeps_its_order_whatever_is(
    first: list[int], draw: st.DataObject
) -> None:
    top = draw.draw(st.lists(st.integers(0, len(first) - 1), unique=True))
    scores = torch.tensor([draw.draw(st.floats(-1e6, 1e6, width=32)) for _ in top])
    out = above(torch.tensor(first).float(), torch.tensor(top, dtype=torch.int64), scores)
    rest = [i for i in range(len(first)) if i not in top]
    assert all((out[i] < out[j]) == (first[i] < first[j]) for i in rest for j in rest)
    assert all(out[i] < out[t] for i in rest for t in top)
    assert torch.equal(out[top], scores)
