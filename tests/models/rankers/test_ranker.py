"""Encoder + head on a hand-made batch. The encoder is a table of vectors, so every number can be
followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from coldlm.asof.context import FEATURES
from coldlm.core.seeding import torch_seed
from coldlm.models.rankers.ranker import Ranker
from coldlm.models.towers import Towers

N, D, W, H = 6, 5, 4, 2


class Table(nn.Module):
    """Item i is row i; a text is a vector of its length. ``asked`` keeps what it was asked for."""

    width = D

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.randn(N, D))
        self.asked: list[object] = []

    def items(self, codes: Tensor) -> Tensor:
        self.asked.append(codes.tolist())
        return self.rows[codes]

    def all_items(self) -> Tensor:
        return self.rows.detach()

    def texts(self, texts: Sequence[str]) -> Tensor:
        self.asked.append(tuple(texts))
        return torch.tensor([[float(len(text))] * D for text in texts])


@dataclass
class ScoringBatch:
    """Events 0 to 2 against the columns [item 1, item 4, item 1]; event 1 has a text, event 2
    nothing."""

    items: Tensor = field(default_factory=lambda: torch.tensor([1, 3, 4]))
    columns: Tensor = field(default_factory=lambda: torch.tensor([0, 2, 0]))
    history: Tensor = field(default_factory=lambda: torch.tensor([[1, 0], [2, -1], [-1, -1]]))
    texts: tuple[str, ...] = ("abc",)
    text: Tensor = field(default_factory=lambda: torch.tensor([-1, 0, -1]))
    features: Tensor = field(default_factory=lambda: torch.rand(len(FEATURES), 3, 3))


@pytest.fixture
def ranker() -> Ranker:
    with torch_seed(0):
        ranker = Ranker(Table(), Towers(D, width=W, history=H))
        with torch.no_grad():
            for p in ranker.parameters():
                p.normal_()
    return ranker


def test_scores_are_the_heads_over_vectors_encoded_one_by_one(ranker: Ranker) -> None:
    batch, head = ScoringBatch(), ranker.head
    scores = ranker(batch)
    item = [head.items(ranker.encoder.rows[i][None]) for i in range(N)]
    zero = torch.zeros(W)
    text = head.items(torch.full((1, D), 3.0)).vector[0]
    for b, (past, has) in enumerate((([3, 1], False), ([4], True), ([], False))):
        known = torch.tensor([[h < len(past) for h in range(H)]])
        rows = torch.stack([item[past[h]].vector[0] if h < len(past) else zero for h in range(H)])
        user = head.users(rows[None], known, text[None], torch.tensor([has]))
        for m, code in enumerate((1, 4, 1)):
            expected = head.score(user, item[code], batch.features[:, b : b + 1, m : m + 1])
            torch.testing.assert_close(scores[b, m], expected[0, 0], atol=1e-5, rtol=1e-5)


def test_every_distinct_item_and_text_is_encoded_once(ranker: Ranker) -> None:
    ranker(ScoringBatch())
    assert ranker.encoder.asked == [[1, 3, 4], ("abc",)]


def test_a_head_without_text_never_asks_the_encoder() -> None:
    ranker = Ranker(Table(), Towers(D, width=W, history=H, context="only"))
    assert ranker(ScoringBatch()).shape == (3, 3)
    assert ranker.encoder.asked == []
    assert ranker.item_vectors() is None


def test_read_gives_zeros_where_there_is_no_text(ranker: Ranker) -> None:
    vectors, known = ranker.read((), torch.tensor([-1, -1]))
    assert vectors.tolist() == [[0.0] * W] * 2
    assert known.tolist() == [False, False]
    vectors, known = ranker.read(("ab", "c"), torch.tensor([1, -1, 0]))
    assert known.tolist() == [True, False, True]
    expected = ranker.head.items(torch.tensor([[1.0] * D, [2.0] * D])).vector
    torch.testing.assert_close(vectors, torch.stack([expected[0], torch.zeros(W), expected[1]]))


def test_vectors_are_kept_while_the_encoder_stands_still(ranker: Ranker) -> None:
    first = ranker.item_vectors()
    assert first is not None
    assert torch.equal(first.vectors, ranker.encoder.rows)
    assert not first.vectors.requires_grad
    with torch.no_grad():
        next(ranker.head.parameters()).add_(1)
    assert ranker.item_vectors(first) is first
    with torch.no_grad():
        ranker.encoder.rows[0, 0] += 1e-6
    other = ranker.item_vectors(first)
    assert other is not None
    assert other is not first
    assert other.source != first.source


def test_nothing_but_what_is_named_trains_inside(ranker: Ranker) -> None:
    def trains() -> set[str]:
        return {name for name, p in ranker.named_parameters() if p.requires_grad}

    everything = trains()
    ranker.head.unknown.requires_grad_(False)  # what does not train at all stays so
    with ranker.only(["encoder.rows"]):
        assert trains() == {"encoder.rows"}
    assert trains() == everything - {"head.unknown"}


def test_restore_puts_back_every_bit_that_trains_and_the_heads_scale(ranker: Ranker) -> None:
    ranker.head.standardise(ranker.encoder.rows.detach())
    saved = {name: tensor.clone() for name, tensor in ranker.trainable().items()}
    before = ranker(batch := ScoringBatch())
    assert {"encoder.rows", "head.centre", "head.spread", "head.unknown"} <= set(saved)
    with torch.no_grad():
        for tensor in ranker.trainable().values():
            tensor += 1
    assert not torch.equal(ranker(batch), before)
    ranker.restore(saved)
    assert torch.equal(ranker(batch), before)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in ranker.trainable().items())


def test_what_does_not_train_is_not_in_a_checkpoint(ranker: Ranker) -> None:
    ranker.encoder.rows.requires_grad_(False)
    assert not [name for name in ranker.trainable() if name.startswith("encoder.")]


def test_another_models_checkpoint_is_refused(ranker: Ranker) -> None:
    state = ranker.trainable()
    with pytest.raises(KeyError, match=r"head\.unknown"):
        ranker.restore({name: tensor for name, tensor in state.items() if name != "head.unknown"})
