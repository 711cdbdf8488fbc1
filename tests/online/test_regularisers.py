"""Each penalty against brute force on a tiny model, and what it does to an update."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coldlm.core.seeding import torch_seed
from coldlm.learn.batches import Batch
from coldlm.online.regularisers import (
    EMA,
    EWC,
    Distill,
    Ground,
    L2ToPrevious,
    Peso,
    Regulariser,
)

B, M, D = 3, 4, 2
PLACE = (0, 0)


class Matrix(nn.Module):
    """A matrix under LoRA: W + A B, of which A and B train."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(D, D), requires_grad=False)
        self.lora_A = nn.ParameterDict({"default": nn.Parameter(torch.randn(D, 1))})
        self.lora_B = nn.ParameterDict({"default": nn.Parameter(torch.randn(1, D))})

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.weight + self.lora_A["default"] @ self.lora_B["default"])


class Toy(nn.Module):
    """Logits of a batch are linear in its features, by two adapted matrices and a head."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"query": Matrix(), "value": Matrix()})
        self.head = nn.Linear(D, 1)

    def forward(self, batch: Batch) -> Tensor:
        x = batch.features.movedim(0, -1)
        return self.head(self.encoder["value"](self.encoder["query"](x).tanh()))[..., 0]


def make_batch(seed: int, rows: int = B) -> Batch:
    with torch_seed(seed, "batch"):
        log_weight = torch.zeros(rows, M)
        log_weight[0, 2] = -torch.inf  # not a candidate of event 0
        nothing = torch.zeros(0, dtype=torch.int64)
        return Batch(
            items=nothing, columns=nothing, positive=torch.arange(rows) % M, history=nothing,
            texts=(), text=nothing, log_weight=log_weight, features=torch.randn(D, rows, M),
            label=torch.ones(rows), weight=torch.ones(rows), size=rows,
        )  # fmt: skip


def loss(logits: Tensor, log_weight: Tensor, positive: Tensor, label: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits + log_weight, positive, reduction="none")


@pytest.fixture
def toy() -> Toy:
    with torch_seed(0, "toy"):
        return Toy()


def ground(toy: Toy, names: list[str] | None = None, **keys: Any) -> Ground:
    trains = [name for name, p in toy.named_parameters() if p.requires_grad]
    before = {name: p.detach().clone() for name, p in toy.named_parameters()}

    def score(batch: Batch) -> Tensor:
        """By the weights before the update, whatever the model's are now."""
        return torch.func.functional_call(toy, before, (batch,)).detach()

    given: dict[str, Any] = {
        "ranker": toy,
        "names": names or trains,
        "scorer": SimpleNamespace(batch=score),
        "loss": loss,
        "epochs": [[make_batch(1), make_batch(2)]],
        "earlier": lambda: [make_batch(3), make_batch(4), make_batch(5)],
    }
    return Ground(**given | keys)


def move(toy: Toy) -> dict[str, Tensor]:
    """Change everything that trains; by how much."""
    with torch_seed(0, "move"), torch.no_grad():
        by = {n: torch.randn_like(p) for n, p in toy.named_parameters() if p.requires_grad}
        for name, p in toy.named_parameters():
            if name in by:
                p.add_(by[name])
    return by


def penalty(regulariser: Regulariser, toy: Toy) -> Tensor:
    batch = make_batch(1)
    found = regulariser.penalty(batch, toy(batch), PLACE)
    assert found is not None
    return found


def test_none_is_nothing(toy: Toy) -> None:
    none = Regulariser()
    before = {name: p.detach().clone() for name, p in toy.named_parameters()}
    none.begin(ground(toy))
    assert none.penalty(make_batch(1), toy(make_batch(1)), PLACE) is None
    none.end(ground(toy))
    assert none.state == {}
    assert all(torch.equal(p, before[name]) for name, p in toy.named_parameters())


REGULARISERS: dict[str, Callable[[], Regulariser]] = {
    "l2": lambda: L2ToPrevious(strength=3.0),
    "ewc": lambda: EWC(strength=3.0),
    "distill": lambda: Distill(strength=3.0),
    "peso": lambda: Peso(strength=3.0),
}


@pytest.mark.parametrize("name", REGULARISERS)
def test_where_nothing_has_moved_there_is_nothing_to_pay(name: str, toy: Toy) -> None:
    regulariser = REGULARISERS[name]()
    regulariser.begin(ground(toy))
    first = penalty(regulariser, toy)
    assert abs(first.item()) < 1e-6
    gradients = torch.autograd.grad(first, list(toy.parameters())[1:3], allow_unused=True)
    assert all(g is None or g.abs().max() < 1e-5 for g in gradients)
    move(toy)
    assert penalty(regulariser, toy).item() > 1e-3


def test_l2_is_half_of_the_squared_distance(toy: Toy) -> None:
    l2 = L2ToPrevious(strength=3.0)
    l2.begin(ground(toy))
    by = move(toy)
    expected = 1.5 * sum(float((b**2).sum()) for b in by.values())
    assert penalty(l2, toy).item() == pytest.approx(expected, rel=1e-5)


def test_l2_holds_what_may_move_alone(toy: Toy) -> None:
    l2 = L2ToPrevious(strength=2.0)
    l2.begin(ground(toy, ["head.bias"]))
    by = move(toy)
    assert penalty(l2, toy).item() == pytest.approx(float(by["head.bias"] ** 2), rel=1e-5)


def fisher(toy: Toy, batches: list[Batch]) -> dict[str, Tensor]:
    """Event by event: B times the square of the mean of the events' gradients, mean over
    batches."""
    named = {n: p for n, p in toy.named_parameters() if p.requires_grad}
    total = {n: torch.zeros_like(p) for n, p in named.items()}
    for batch in batches:
        each = loss(toy(batch), batch.log_weight, batch.positive, batch.label)
        rows = [torch.autograd.grad(x, list(named.values()), retain_graph=True) for x in each]
        for name, gradients in zip(named, zip(*rows, strict=True), strict=True):
            total[name] += len(rows) * torch.stack(gradients).mean(0) ** 2 / len(batches)
    return total


def test_ewc_weighs_by_the_fisher_information_of_what_was_learned_before(toy: Toy) -> None:
    ewc = EWC(strength=3.0, gamma=0.9)
    its = ground(toy)
    expected = fisher(toy, [make_batch(n) for n in (3, 4, 5)])
    ewc.begin(its)
    for name, value in expected.items():
        torch.testing.assert_close(ewc.state[name], value)
    by = move(toy)
    paid = 1.5 * sum(float((expected[name] * by[name] ** 2).sum()) for name in by)
    assert penalty(ewc, toy).item() == pytest.approx(paid, rel=1e-4)
    # behind the update its own data are remembered too, under the weights that came of them
    ewc.end(its)
    new = fisher(toy, [make_batch(1), make_batch(2)])
    for name, value in expected.items():
        torch.testing.assert_close(ewc.state[name], 0.9 * value + new[name])
    # the next update goes on from there, and from the weights of now
    held = ewc.state
    ewc.begin(ground(toy, earlier=lambda: pytest.fail("this is known")))
    assert ewc.state is held
    assert penalty(ewc, toy).item() == 0


def test_a_fisher_of_single_events_is_the_mean_of_squared_gradients(toy: Toy) -> None:
    ewc = EWC()
    singles = [make_batch(n, rows=1) for n in range(6)]
    ewc.begin(ground(toy, earlier=lambda: singles))
    named = {n: p for n, p in toy.named_parameters() if p.requires_grad}
    squares = {n: torch.zeros_like(p) for n, p in named.items()}
    for batch in singles:
        one = loss(toy(batch), batch.log_weight, batch.positive, batch.label)[0]
        for name, g in zip(named, torch.autograd.grad(one, list(named.values())), strict=True):
            squares[name] += g**2 / len(singles)
    for name, value in squares.items():
        torch.testing.assert_close(ewc.state[name], value)


def test_ewc_without_anything_earlier_begins_with_nothing(toy: Toy) -> None:
    ewc = EWC()
    ewc.begin(ground(toy, earlier=lambda: []))
    move(toy)
    assert penalty(ewc, toy).item() == 0


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_distill_is_the_divergence_from_what_was_said_before(toy: Toy, temperature: float) -> None:
    distill = Distill(strength=3.0, temperature=temperature)
    its, batch = ground(toy), make_batch(1)
    distill.begin(its)
    said = toy(batch).detach()
    move(toy)
    now, total = toy(batch).detach(), 0.0
    for row in range(B):
        columns = [m for m in range(M) if math.isfinite(batch.log_weight[row, m])]
        p, q = (torch.softmax(x[row, columns].double() / temperature, 0) for x in (said, now))
        total += float((p * (p.log() - q.log())).sum())
    expected = 3.0 * temperature**2 * total / B
    assert penalty(distill, toy).item() == pytest.approx(expected, rel=1e-4)


def test_distill_compares_a_batch_with_itself(toy: Toy) -> None:
    distill = Distill()
    distill.begin(ground(toy))
    for number, seed in enumerate((1, 2)):
        batch = make_batch(seed)
        assert abs(distill.penalty(batch, toy(batch), (0, number)).item()) < 1e-6
    batch = make_batch(2)
    assert distill.penalty(batch, toy(batch), (0, 0)).item() > 1e-4


def test_a_positive_without_a_weight_is_distilled_all_the_same(toy: Toy) -> None:
    batch = make_batch(1)
    batch.log_weight[:] = -torch.inf
    distill = Distill()
    distill.begin(ground(toy, epochs=[[batch]]))
    move(toy)
    # one candidate: its share is 1 before and after
    assert distill.penalty(batch, toy(batch), PLACE).item() == pytest.approx(0, abs=1e-7)


def test_peso_is_a_divergence_by_module(toy: Toy) -> None:
    peso = Peso(strength=3.0)
    before = {n: p.detach().clone() for n, p in toy.named_parameters() if p.requires_grad}
    peso.begin(ground(toy))
    move(toy)
    now = {n: p.detach() for n, p in toy.named_parameters()}
    total = 0.0
    for module in ("query", "value"):  # the head is no adapter
        names = [f"encoder.{module}.lora_{part}.default" for part in "AB"]
        p, q = (
            torch.softmax(torch.cat([w[n].flatten() for n in names]).double(), 0)
            for w in (before, now)
        )
        assert len(p) == 4
        total += 4 * float((p * (p.log() - q.log())).sum())
    assert penalty(peso, toy).item() == pytest.approx(3.0 * total, rel=1e-4)


def test_peso_holds_a_pattern_and_not_its_level(toy: Toy) -> None:
    peso = Peso()
    peso.begin(ground(toy))
    with torch.no_grad():
        for name, p in toy.named_parameters():
            if "query" in name:
                p.add_(0.7)
    assert penalty(peso, toy).item() == pytest.approx(0, abs=1e-5)


def test_peso_times_n_is_half_of_the_squared_change(toy: Toy) -> None:
    """Where weights are small: about its mean, as the docstring says."""
    with torch_seed(0, "small"), torch.no_grad():
        for p in toy.parameters():
            p.copy_(torch.randn_like(p) * 1e-2)
        peso = Peso(strength=1.0)
        peso.begin(ground(toy))
        by = {n: torch.randn_like(p) * 1e-2 for n, p in toy.named_parameters() if "lora" in n}
        for name, p in toy.named_parameters():
            if name in by:
                p.add_(by[name])
    expected = 0.0
    for module in ("query", "value"):
        change = torch.cat([b.flatten() for n, b in by.items() if module in n])
        expected += float(((change - change.mean()) ** 2).sum()) / 2
    assert penalty(peso, toy).item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("decay", [0.0, 0.25, 1.0])
def test_ema_goes_back_a_part_of_the_way(toy: Toy, decay: float) -> None:
    ema, its = EMA(decay=decay), ground(toy, ["head.weight", "encoder.query.lora_A.default"])
    ema.begin(its)
    before = {name: p.detach().clone() for name, p in toy.named_parameters()}
    by = move(toy)
    assert ema.penalty(make_batch(1), toy(make_batch(1)), PLACE) is None
    ema.end(its)
    for name, p in toy.named_parameters():
        share = (1 - decay) if name in its.names else 1.0
        torch.testing.assert_close(p.detach(), before[name] + share * by.get(name, 0 * p))
