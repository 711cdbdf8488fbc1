"""Training on texts alone: batches by eye, a loss that falls, the same bits every time, the best
epoch's weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from coldlm.core.errors import DataError, Diverged
from coldlm.core.seeding import generator, torch_seed
from coldlm.learn.fit import Budget, Machine
from coldlm.learn.pretrain import Pretrained, judge, pretrain
from coldlm.learn.reading import TakerBatches, Takers, TextBatches, Texts
from coldlm.models.backbone import load
from coldlm.models.backbones.objectives import Objective, open_objective
from coldlm.models.backbones.scratch import random_model, train_tokenizer
from coldlm.text.tokens import Tokens

WORDS = ("space", "sea", "moon", "ship", "deep", "water", "fire", "ice")
TEXTS = [f"the {a} of the {b}" for a in WORDS for b in WORDS]
KINDS = [("masked_lm", "roberta"), ("causal_lm", "gpt2"), ("contrastive", "bert")]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders with a random model of each family."""
    root = tmp_path_factory.mktemp("start")
    for _, family in KINDS:
        tokenizer = train_tokenizer(TEXTS, 320, family)
        with torch_seed(0, family):
            random_model(
                family, tokenizer, layers=1, width=16, heads=2, positions=34
            ).save_pretrained(root / family)
        tokenizer.save_pretrained(root / family)
    return root


def _open(kind: str, family: str, start: Path) -> Objective:
    backbone = load(name="mine", path=str(start / family), max_tokens=32)
    with torch_seed(0):
        return open_objective(
            kind,
            start / family,
            backbone,
            dropout=None,
            keep_layers=None,
            mask_share=0.15,
            temperature=0.05,
        )


def _pretrain(
    objective: Objective, budget: Budget, texts: list[str] = TEXTS, **keys: Any
) -> Pretrained:
    given = {"lr": 1e-2, "batch_size": 8, "held_out": 0.1, "seed": 1, **keys}
    return pretrain(objective, Texts(texts), budget, Machine(), **given)


def _tokens(lengths: list[int]) -> Tokens:
    """Text i holds the token i + 1, ``lengths[i]`` times."""
    start = np.cumsum([0, *lengths]).astype(np.int64)
    return Tokens(np.repeat(np.arange(1, len(lengths) + 1), lengths), start, 0, 0.0)


def test_batches_hold_every_text_once_padded_on_the_right() -> None:
    tokens = _tokens([3, 1, 2, 5, 4])
    batches = list(TextBatches(tokens, np.array([0, 1, 2, 4]), 2))
    assert [batch.ids.tolist() for batch in batches] == [
        [[2, 0], [3, 3]],
        [[1, 1, 1, 0], [5, 5, 5, 5]],
    ]
    assert batches[0].mask.tolist() == [[True, False], [True, True]]
    shuffled = [
        sorted(
            int(row[0])
            for batch in TextBatches(tokens, np.arange(5), 2, generator(seed, "x"))
            for row in batch.ids
        )
        for seed in range(4)
    ]
    assert shuffled == [[1, 2, 3, 4, 5]] * 4
    first = {
        tuple(next(iter(TextBatches(tokens, np.arange(5), 1, generator(s, "x")))).ids[0].tolist())
        for s in range(9)
    }
    assert len(first) > 1


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_the_held_out_loss_falls_and_is_that_of_the_weights_that_stay(
    kind: str, family: str, start: Path
) -> None:
    objective = _open(kind, family, start)
    done = _pretrain(objective, Budget(epochs=4))
    assert done.after < done.before
    assert done.after == min(done.losses) == done.losses[done.epochs - 1]
    assert (len(done.losses), done.n_texts, done.n_held_out) == (4, 58, 6)
    assert done.steps == 4 * 8
    order = generator(1, "pretrain", "held out").permutation(len(TEXTS))
    from coldlm.text.tokens import tokenize

    tokens = tokenize(TEXTS, objective.tokenizer, 32, causal=objective.causal)
    assert judge(objective, TextBatches(tokens, np.sort(order[:6]), 8), 1) == done.after
    assert done.n_tokens == tokens.lengths[order[6:]].sum()


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_the_same_seed_gives_the_same_bits_and_another_others(
    kind: str, family: str, start: Path
) -> None:
    def weights(seed: int) -> tuple[list[float], dict[str, torch.Tensor]]:
        objective = _open(kind, family, start)
        done = _pretrain(objective, Budget(epochs=2), seed=seed)
        return [done.before, *done.losses], {
            name: p.clone() for name, p in objective.trainable().items()
        }

    (losses, one), (same, two), (others, three) = weights(1), weights(1), weights(2)
    assert losses == same
    assert others != losses
    assert all(torch.equal(p, two[name]) for name, p in one.items())
    assert not all(torch.equal(p, three[name]) for name, p in one.items())


def _takers(items: int = 16) -> Takers:
    """40 users of whom each takes the texts about one word."""
    taken = np.zeros((40, len(TEXTS)))
    for user in range(40):
        taken[user, 8 * (user % 8) : 8 * (user % 8) + 8] = 1
    taken[:, ::3] = 0
    return Takers(TEXTS, csr_matrix(taken), items)


def test_batches_of_takers_read_what_they_took_first() -> None:
    taken = csr_matrix(np.array([[1, 1, 0, 0, 0], [0, 0, 1, 0, 1], [0, 1, 0, 0, 0]]))
    tokens = _tokens([3, 1, 2, 5, 4])
    (whole,) = TakerBatches(tokens, taken, np.arange(3), 3, 9)
    items = [1, 2, 0, 4, 3]  # no more than there are, short texts first
    assert whole.ids[:, 0].tolist() == [item + 1 for item in items]
    assert whole.taken is not None
    assert whole.taken.tolist() == taken.toarray()[:, items].tolist()
    for seed in range(9):
        rng = generator(seed, "x")
        for batch in TakerBatches(tokens, taken, np.array([0, 1]), 1, 3, rng):
            assert batch.taken is not None
            assert batch.taken.shape == (1, 3)
            assert batch.taken.sum() == 2  # and one that they did not take
            assert batch.mask.sum(1).tolist() == tokens.lengths[batch.ids[:, 0] - 1].tolist()
    first, again = (
        [b.ids.tolist() for b in TakerBatches(tokens, taken, np.arange(3), 1, 2, generator(1, "x"))]
        for _ in range(2)
    )
    assert first == again
    (few,) = TakerBatches(tokens, taken, np.arange(3), 3, 2)
    assert len(few.ids) == 2


def test_who_took_what_is_learned_from_texts(start: Path) -> None:
    objective, takers = _open("item_to_item", "bert", start), _takers()
    given = {"lr": 1e-2, "batch_size": 8, "held_out": 0.2, "seed": 1}
    done = pretrain(objective, takers, Budget(epochs=4), Machine(), **given)
    assert done.after < 0.9 * done.before
    assert (done.n_texts, done.n_users, done.n_held_out, done.steps) == (64, 32, 8, 16)
    few = Takers(TEXTS, takers.taken[:2], 16)
    with pytest.raises(DataError, match="2 users who took two items or more are known before"):
        pretrain(objective, few, Budget(epochs=1), Machine(), **given)


def test_an_early_best_epoch_is_put_back(start: Path) -> None:
    objective = _open("causal_lm", "gpt2", start)
    # nothing in common: what is learned of the one is wrong of the other
    texts = ["aa ab ac", "ba bb bc", "ca cb cc", "fire water", "ice moon"]
    done = _pretrain(objective, Budget(epochs=8), texts=texts, lr=0.05, batch_size=4, held_out=0.4)
    assert done.epochs < 8
    assert done.after == done.losses[done.epochs - 1] < done.losses[-1]


def test_caps_on_steps_and_seconds_stop_the_training(start: Path) -> None:
    assert _pretrain(_open("causal_lm", "gpt2", start), Budget(epochs=9, max_steps=3)).steps == 3
    done = _pretrain(_open("causal_lm", "gpt2", start), Budget(epochs=200, max_seconds=0.2))
    assert 0 < len(done.losses) < 200
    assert 0 < done.steps < 200 * 8


def test_too_few_texts_and_a_loss_that_is_no_number_are_refused(start: Path) -> None:
    with pytest.raises(DataError, match="2 texts are known before t_val; it needs at least 3"):
        _pretrain(_open("causal_lm", "gpt2", start), Budget(epochs=1), texts=["a", "b"])
    with pytest.raises(Diverged, match=r"lower pretrain\.lr"):
        _pretrain(_open("causal_lm", "gpt2", start), Budget(epochs=3, clip=None), lr=math.inf)
