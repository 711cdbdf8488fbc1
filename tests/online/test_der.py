"""Kept scores against a dictionary of them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coldlm.core.seeding import torch_seed
from coldlm.core.tables import Ints
from coldlm.learn.batches import Batch
from coldlm.online.der import DER
from coldlm.online.regularisers import Ground

CATALOGUE = 12


class Epoch(list[Batch]):
    """Batches that know their rows."""

    def __init__(self, *parts: tuple[list[int], list[int], int]) -> None:
        super().__init__(make_batch(codes, len(rows), seed) for rows, codes, seed in parts)
        self._rows = [np.array(rows) for rows, _, _ in parts]

    def rows(self, number: int) -> Ints:
        return self._rows[number]


def make_batch(codes: list[int], n: int, seed: int) -> Batch:
    with torch_seed(seed, "batch"):
        log_weight = torch.where(torch.rand(n, len(codes)) < 0.3, -torch.inf, 0.0)
        nothing = torch.zeros(0, dtype=torch.int64)
        return Batch(
            items=torch.tensor(codes), columns=torch.randperm(len(codes)), positive=torch.arange(n) % len(codes),
            history=nothing, texts=(), text=nothing, log_weight=log_weight, features=torch.randn(1, n, len(codes)),
            label=torch.ones(n), weight=torch.ones(n), size=n,
        )  # fmt: skip


class Toy(nn.Module):
    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, batch: Batch) -> Tensor:
        return self.scale * batch.features[0]


def ground(toy: Toy, epoch: Epoch) -> Ground:
    given: dict[str, Any] = {"scorer": SimpleNamespace(), "loss": None, "earlier": lambda: epoch}
    return Ground(ranker=toy, names=["scale"], epochs=[epoch], **given)  # type: ignore[arg-type]


def seen(batch: Batch, b: int) -> dict[int, int]:
    """Code -> column of what event b sees."""
    codes = batch.items[batch.columns].tolist()
    return {
        code: m
        for m, code in enumerate(codes)
        if torch.isfinite(batch.log_weight[b, m]) or m == int(batch.positive[b])
    }


def test_the_penalty_is_the_squared_change_of_kept_scores() -> None:
    toy, der = Toy(), DER(strength=0.7, size=100)
    first = Epoch(([5, 9, 2], [0, 3, 4, 7], 1), ([11, 1], [2, 3, 4, 8, 9], 2))
    der.begin(ground(toy, first))
    assert der.penalty(first[0], toy(first[0]), (0, 0)) is None  # nothing is known yet
    der.end(ground(toy, first))
    kept: dict[int, dict[int, float]] = {}
    for number, batch in enumerate(first):
        for b, row in enumerate(first.rows(number).tolist()):
            scores = toy(batch)[b].detach()
            kept[row] = {code: float(scores[m]) for code, m in seen(batch, b).items()}
    toy.scale.data.fill_(1.5)
    second = Epoch(([2, 20, 11], [0, 2, 3, 4, 10], 3))
    der.begin(ground(toy, second))
    logits, batch = toy(second[0]), second[0]
    codes, total = batch.items[batch.columns].tolist(), 0.0
    for b, row in enumerate(second.rows(0).tolist()):
        both = [(m, kept[row][code]) for m, code in enumerate(codes) if code in kept.get(row, {})]
        if both:
            total += sum((float(logits[b, m].detach()) - then) ** 2 for m, then in both) / len(both)
    found = der.penalty(batch, logits, (0, 0))
    assert found is not None
    assert float(found.detach()) == pytest.approx(0.7 * total / 3)
    assert total > 0
    found.backward()
    assert float(toy.scale.grad or 0) != 0


def test_the_latest_events_are_kept_as_they_were_last() -> None:
    toy, der = Toy(), DER(size=3)
    for number, rows in enumerate(([0, 1, 2], [2, 3])):
        epoch = Epoch((rows, [0, 1, 2, 3][: 3 + number], number))
        der.begin(ground(toy, epoch))
        der.end(ground(toy, epoch))
    assert der.state["rows"].tolist() == [1, 2, 3]
    assert der.state["codes"].shape == der.state["logits"].shape == (3, 4)
    again = replace(epoch[0])
    assert torch.equal(
        der.state["logits"][1].ne(0), der.state["codes"][1].ge(0) & toy(again)[0].ne(0)
    )
