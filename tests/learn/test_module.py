"""Batches, caches and shared encodings change no number: losses and gradients are those of plain
loops."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, local
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coldlm.core.errors import Diverged
from coldlm.core.seeding import torch_seed
from coldlm.learn.batches import Batch
from coldlm.learn.module import Learner
from coldlm.learn.optimisers import sgd
from coldlm.models import strategy
from coldlm.models.backbone import tiny
from coldlm.models.losses import BPR, BinaryCrossEntropy, FullSoftmax, InfoNCE, SampledSoftmax
from coldlm.models.rankers.ranker import Ranker
from coldlm.models.towers import Towers
from coldlm.text.encode import TextEncoder

Make = Callable[..., Any]
LOSSES = {
    "sampled": SampledSoftmax(draws=6),
    "full": FullSoftmax(),
    "binary": BinaryCrossEntropy(draws=6),
    "bpr": BPR(draws=6),
    "infonce": InfoNCE(temperature=0.5),
    "weighted": SampledSoftmax(draws=6, negatives="popularity", ips=0.3),
}


@pytest.fixture(scope="module")
def make_ranker(small: Any) -> Callable[..., Ranker]:
    """``make_ranker("top", "bert")``: random head parameters, no dropout, training mode."""

    def make(name: str = "top", family: str = "bert", **head: Any) -> Ranker:
        body = getattr(strategy, name)(tiny(family=family, width=16))
        order = np.argsort(small.catalogue.enters_at, kind="stable")
        encoder = TextEncoder(body, small.data.items.texts, order)
        with torch_seed(0):
            towers = Towers(16, **{"width": 8, "history": 3, **head})
            with torch.no_grad():
                for p in towers.parameters():
                    p.normal_(std=0.3)
        ranker = Ranker(encoder, towers).eval()
        towers.standardise(encoder.all_items())
        for part in ranker.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        return ranker.train()

    return make


def _alone(ranker: Ranker, text: str) -> Tensor:
    """[1, D] one text by the backbone, nothing beside it."""
    body = ranker.encoder.body
    end = [body.tokenizer.eos_token_id] if body.causal else []
    ids = torch.tensor([[*body.tokenizer(text)["input_ids"], *end]])
    return body(ids, torch.ones_like(ids, dtype=torch.bool))


def _score(ranker: Ranker, small: Any, row: int, item: int, typed: str) -> Tensor:
    """One event against one item: every text encoded on its own, the history read from the log."""
    head, texts = ranker.head, small.data.items.texts
    profile = small.data.users.texts[small.data.log.user[row]]
    past = [] if typed != profile else small.history(row, head.history)
    rows = [head.items(_alone(ranker, texts[code])).vector[0] for code in past]
    rows += [torch.zeros(head.width)] * (head.history - len(past))
    known = torch.tensor([[h < len(past) for h in range(head.history)]])
    text = head.items(_alone(ranker, typed)).vector if typed else torch.zeros(1, head.width)
    user = head.users(torch.stack(rows)[None], known, text, torch.tensor([bool(typed)]))
    features = torch.tensor(small.features(row, item))[:, None, None]
    return head.score(user, head.items(_alone(ranker, texts[item])), features)[0, 0]


def _loss(ranker: Ranker, small: Any, batch: Batch, rows: Any, loss: Any) -> Tensor:
    """Mean loss of a batch, event by event and column by column, from the definitions."""
    total, codes = torch.zeros(()), batch.items[batch.columns].tolist()
    for b, row in enumerate(rows.tolist()):
        typed = batch.texts[batch.text[b]] if batch.text[b] >= 0 else ""
        own = _score(ranker, small, row, int(small.data.log.item[row]), typed)
        weighted = [
            (math.exp(w), _score(ranker, small, row, item, typed))
            for item, w in zip(codes, batch.log_weight[b].tolist(), strict=True)
            if w > -math.inf
        ]
        if loss is LOSSES["full"]:
            weighted = [
                (1.0, _score(ranker, small, row, item, typed))
                for item in sorted(small.negatives(row))
            ]
        weight, before = float(batch.weight[b]), total
        if loss is LOSSES["bpr"]:
            apart = sum(w * (1 + (s - own).exp()).log() for w, s in weighted)
            total = total + (apart / sum(w for w, _ in weighted) if weighted else 0.0)
        elif loss is LOSSES["infonce"]:
            total = (
                total
                - own / 0.5
                + ((own / 0.5).exp() + sum(w * (s / 0.5).exp() for w, s in weighted)).log()
            )
        elif loss is not LOSSES["binary"]:
            total = total - own + (own.exp() + sum(w * s.exp() for w, s in weighted)).log()
        elif small.data.log.positive[row]:
            drawn = sum(w * (1 + s.exp()).log() for w, s in weighted)
            total = total + ((1 + (-own).exp()).log() + drawn) / (1 + sum(w for w, _ in weighted))
        else:
            total = total + (1 + own.exp()).log()
        total = before + weight * (total - before)
    return total / len(rows)


def _gradients(value: Tensor, ranker: Ranker) -> dict[str, Tensor]:
    named = {name: p for name, p in ranker.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(
        value, list(named.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(named, gradients, strict=True))


def _learner(ranker: Ranker, loss: Any, **keys: Any) -> Learner:
    learner = Learner(ranker, loss, lambda named: sgd(named), **keys)
    # there is no trainer to log to
    learner.log = lambda *_, **__: None  # type: ignore[method-assign]
    return learner


@pytest.mark.parametrize(
    ("name", "family", "loss", "pseudo_query"),
    [
        ("top", "bert", "sampled", 0.0),
        ("top", "bert", "bpr", 0.0),
        ("top", "bert", "infonce", 0.0),
        ("top", "bert", "weighted", 0.4),
        ("top", "bert", "full", 0.4),
        ("top", "bert", "binary", 0.0),
        ("top", "gpt2", "sampled", 0.4),
        ("lora", "roberta", "sampled", 0.0),
        ("full", "bert", "sampled", 0.0),
        ("frozen", "bert", "full", 0.4),
    ],
)
def test_loss_and_gradients_are_those_of_plain_loops(
    small: Any, make_ranker: Make, name: str, family: str, loss: str, pseudo_query: float
) -> None:
    ranker = make_ranker(name, family)
    batches = small.batches(LOSSES[loss], pseudo_query=pseudo_query, batch_size=6, session=2)
    batch, rows = batches[1], batches.rows(1)
    got = _learner(ranker, LOSSES[loss]).training_step(batch, 1)
    expected = _loss(ranker, small, batch, rows, LOSSES[loss])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    theirs, ours = _gradients(expected, ranker), _gradients(got, ranker)
    assert any(
        gradient.abs().max() > 1e-3 for n, gradient in theirs.items() if n.startswith("encoder.")
    ) == (name != "frozen")
    for n, gradient in theirs.items():
        torch.testing.assert_close(
            ours[n], gradient, atol=1e-5, rtol=1e-4, msg=lambda text, n=n: f"{n}: {text}"
        )


def test_a_step_in_eval_mode_blocks_has_the_same_loss(small: Any, make_ranker: Make) -> None:
    ranker, batch = make_ranker(), small.batches(LOSSES["sampled"])[0]
    learner = _learner(ranker, LOSSES["sampled"])
    training = learner.training_step(batch, 0)
    ranker.eval()
    torch.testing.assert_close(learner.training_step(batch, 0), training, atol=1e-5, rtol=0)


@pytest.mark.parametrize("context", ["on", "off", "only"])
def test_every_parameter_that_trains_has_a_gradient_in_a_normal_batch(
    small: Any, make_ranker: Make, context: str
) -> None:
    ranker = make_ranker("frozen" if context == "only" else "top", context=context)
    recipe = {"uses_text": context != "only", "uses_context": context != "off"}
    _learner(ranker, LOSSES["sampled"]).training_step(
        small.batches(LOSSES["sampled"], **recipe)[0], 0
    ).backward()
    assert [
        name for name, p in ranker.named_parameters() if p.requires_grad and p.grad is None
    ] == []


class Ranks:
    """``torch.distributed`` for ranks that are threads of this process."""

    def __init__(self, world: int) -> None:
        self._world, self._barrier, self._own = world, Barrier(world, timeout=60), local()
        self._slots: list[Tensor] = [torch.empty(0)] * world

    def run(self, work: Callable[[int], Any]) -> list[Any]:
        def one(rank: int) -> Any:
            self._own.rank = rank
            return work(rank)

        with ThreadPoolExecutor(self._world) as pool:
            return list(pool.map(one, range(self._world)))

    def _exchange(self, mine: Tensor) -> list[Tensor]:
        self._slots[self.get_rank()] = mine.detach().clone()
        self._barrier.wait()
        everyones = list(self._slots)
        self._barrier.wait()
        return everyones

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def get_rank(self) -> int:
        return int(self._own.rank)

    def get_world_size(self) -> int:
        return self._world

    def all_gather(self, parts: list[Tensor], mine: Tensor) -> None:
        for part, other in zip(parts, self._exchange(mine), strict=True):
            part.copy_(other)

    def all_reduce(self, tensor: Tensor) -> None:
        tensor.copy_(torch.stack(self._exchange(tensor)).sum(0))


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize(
    ("name", "head", "which"),
    [
        ("top", {}, "sampled"),
        ("frozen", {}, "sampled"),
        ("top", {"user": "transformer", "fusion": "gate"}, "weighted"),
    ],
)
def test_gradients_averaged_over_ranks_are_those_of_the_whole_batch(
    small: Any,
    make_ranker: Make,
    monkeypatch: pytest.MonkeyPatch,
    world: int,
    name: str,
    head: dict[str, str],
    which: str,
) -> None:
    loss, ranker = LOSSES[which], make_ranker(name, **head)
    value = _learner(ranker, loss).training_step(small.batches(loss)[0], 0)
    expected = _gradients(value, ranker)
    copies = [copy.deepcopy(ranker) for _ in range(world)]
    ranks = Ranks(world)
    for module in ("models.rankers.ranker", "learn.module"):
        monkeypatch.setattr(f"coldlm.{module}.distributed", ranks)
    monkeypatch.setattr("coldlm.core.ranks._distributed", lambda: ranks)

    def step(rank: int) -> tuple[float, dict[str, Tensor]]:
        batch = small.batches(loss, share=(rank, world))[0]
        value = _learner(copies[rank], loss, world=world).training_step(batch, 0)
        return float(value.detach()), _gradients(value, copies[rank])

    done = ranks.run(step)
    assert np.mean([part for part, _ in done]) == pytest.approx(float(value.detach()), abs=1e-5)
    for n, gradient in expected.items():
        average = torch.stack([gradients[n] for _, gradients in done]).mean(0)
        torch.testing.assert_close(average, gradient, atol=1e-5, rtol=1e-4)


def test_a_step_keeps_account_of_losses_and_events(small: Any, make_ranker: Make) -> None:
    learner = _learner(make_ranker(), LOSSES["sampled"])
    batches = list(small.batches(LOSSES["sampled"]))
    values = [float(learner.training_step(batch, n).detach()) for n, batch in enumerate(batches)]
    assert learner.losses == values
    assert learner.examples == sum(len(batch.label) for batch in batches)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_says_where_and_what_to_do(
    small: Any, make_ranker: Make, value: float
) -> None:
    learner = _learner(make_ranker(), lambda logits, *_: logits.sum(1) * value)
    with pytest.raises(
        Diverged, match=r"(nan|inf) in epoch 0, batch 3: lower optim.lr .*train.clip"
    ):
        learner.training_step(small.batches(LOSSES["sampled"])[0], 3)


def test_a_loss_that_is_not_finite_on_one_rank_stops_all(
    small: Any, make_ranker: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks, copies = Ranks(2), [make_ranker("frozen"), make_ranker("frozen")]
    monkeypatch.setattr("coldlm.learn.module.distributed", ranks)
    loss, batches = (
        LOSSES["sampled"],
        [small.batches(LOSSES["sampled"], share=(rank, 2)) for rank in (0, 1)],
    )

    def step(rank: int) -> bool:
        value = [1.0, math.nan][rank]
        learner = _learner(copies[rank], lambda *args: loss(*args) * value, world=2)
        with pytest.raises(Diverged):
            learner.training_step(batches[rank][0], 0)
        return True

    assert ranks.run(step) == [True, True]


def test_the_optimiser_sees_what_trains_and_nothing_else(make_ranker: Make) -> None:
    seen: list[str] = []
    ranker = make_ranker("top")
    learner = Learner(
        ranker, LOSSES["full"], lambda named: seen.extend(n for n, _ in named) or sgd(named)
    )
    learner.configure_optimizers()
    assert set(seen) == {name for name, p in ranker.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in seen} == {"encoder", "head"}
