"""What every strategy keeps on every family: what trains and what does not, checkpoints, processes,
precision.

One training of 20 steps per cell is looked at from many sides. As a script (``ddp FOLDER``,
``reload FOLDER``) this file is the other process of the tests that need one.
"""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from peft.tuners.ia3 import IA3Layer
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from coldlm.asof.context import FEATURES
from coldlm.config import options
from coldlm.config.build import resolve
from coldlm.config.kinds import Strategy
from coldlm.core.seeding import torch_seed
from coldlm.learn.batches import Batch
from coldlm.learn.fit import Budget, Fitted, Machine, fit
from coldlm.learn.module import Learner
from coldlm.learn.optimisers import Named, adamw, sgd
from coldlm.models.backbone import tiny
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.losses import FullSoftmax
from coldlm.models.rankers.ranker import Ranker
from coldlm.models.towers import Towers
from coldlm.text.encode import TextEncoder

D, L, VOCABULARY, POSITIONS = 16, 2, {"bert": 260, "roberta": 260, "gpt2": 257}, 34
FAMILIES = ("bert", "roberta", "gpt2")
TEXTS = (
    "space adventure",
    "the sea",
    "moon",
    "大海",
    "a",
    "star ship, star ship",
    "",
    "deep water",
)

pytestmark = pytest.mark.long
"""Minutes of training; tests/experiment/test_strategies.py runs every strategy once."""


@dataclass(frozen=True)
class Cell:
    """A strategy with its keys; which parameters train, by name; and how many, by formula: (is
    GPT-2) -> number."""

    name: str
    declared: Callable[[str], bool]
    count: Callable[[bool], int]
    keys: dict[str, Any]
    no_op: bool = True


def cell(name: str, declared: Any, count: Any, no_op: bool = True, **keys: Any) -> Cell:
    return Cell(name, declared, count if callable(count) else lambda gpt2: count, keys, no_op)


def layer_size(gpt2: bool) -> int:
    """Four D x D matrices, two of D x 4D, their biases, two norms; GPT-2 has the same in another
    arrangement."""
    return 4 * (D * D + D) + (4 * D * D + 4 * D) + (4 * D * D + D) + 4 * D


def embeddings_size(gpt2: bool) -> int:
    """Words and positions; BERT adds one token type and a norm."""
    return (VOCABULARY["gpt2" if gpt2 else "bert"] + POSITIONS) * D + (0 if gpt2 else D + 2 * D)


def attention(gpt2: bool, rank: int, extra: int = 0) -> int:
    return (rank * (4 * D + extra)) if gpt2 else 2 * rank * (2 * D + extra)


CELLS = {
    "frozen": cell("frozen", lambda n: False, 0),
    "full": cell("full", lambda n: True, lambda g: embeddings_size(g) + L * layer_size(g) + (2 * D if g else 0)),
    "top": cell(
        "top", lambda n: f".{L - 1}." in n or "ln_f" in n, lambda g: layer_size(g) + (2 * D if g else 0), layers=1
    ),
    "bitfit": cell(
        # GPT-2: its last norm's
        "bitfit", lambda n: n.endswith("bias"), lambda g: L * (4 * D + 4 * D + D + 2 * D) + D
    ),
    "lora": cell("lora", lambda n: "lora_" in n, lambda g: L * attention(g, 3), rank=3),
    "rslora, all": cell(
        "lora",
        lambda n: "lora_" in n,
        # D -> D four times (GPT-2: D -> 3D and D -> D), D -> 4D and back
        lambda g: L * 2 * ((4 * D + 2 * D if g else 4 * 2 * D) + 2 * 5 * D),
        rank=2,
        alpha=4,
        targets="all",
        use_rslora=True,
    ),
    "dora, ffn, top": cell(
        "lora",
        lambda n: "lora_" in n and f".{L - 1}." in n,
        2 * 2 * 5 * D + 4 * D + D,
        rank=2,
        targets="ffn",
        use_dora=True,
        layers=1,
    ),
    "adalora": cell("adalora", lambda n: "lora_" in n, lambda g: L * attention(g, 3, 1), rank=2, start=1.5),
    "ia3": cell("ia3", lambda n: "ia3_l" in n, lambda g: L * ((3 * D if g else 2 * D) + 4 * D)),
    "houlsby": cell(
        "adapter", lambda n: ".up." in n or ".down." in n, 2 * L * (2 * D * 4 + 4 + D), variant="houlsby", bottleneck=4
    ),
    "pfeiffer, top": cell(
        "adapter",
        lambda n: (".up." in n or ".down." in n) and f".{L - 1}." in n,
        2 * D * 5 + 5 + D,
        bottleneck=5,
        layers=1,
    ),
    "prefix": cell(
        "prefix", lambda n: n.endswith((".keys", ".values")), L * 2 * 3 * D, no_op=False, length=3
    ),
    "prefix, projected": cell(
        "prefix",
        lambda n: ".table." in n or ".project." in n,
        3 * D + (D * 6 + 6) + L * (6 * 2 * D + 2 * D),
        no_op=False,
        length=3,
        projection=6,
    ),
    "prompt": cell("prompt", lambda n: n == "prompt", 3 * D, no_op=False, length=3),
}  # fmt: skip


def cells_of(option: str) -> list[str]:
    """The names of a strategy's cells; its own where there is none, which then fails everywhere."""
    return [name for name, its in CELLS.items() if its.name == option] or [option]


families = pytest.mark.parametrize("family", FAMILIES)
cells = pytest.mark.parametrize(
    "name", [name for option in options.every(Strategy) for name in cells_of(option.name)]
)


def test_cells_are_those_of_declared_strategies() -> None:
    assert {its.name for its in CELLS.values()} == set(options.names(Strategy))


def make_body(name: str, family: str, seed: int = 0) -> Backbone:
    make = resolve(options.named(Strategy, CELLS[name].name).target)
    with torch_seed(seed, "strategy"):
        made: Backbone = make(untouched(family), **CELLS[name].keys)
        return made


def untouched(family: str) -> Backbone:
    return tiny(family=family, layers=L, width=D, max_tokens=POSITIONS - 2)


def make_ranker(name: str, family: str, seed: int = 0) -> Ranker:
    encoder = TextEncoder(make_body(name, family, seed), TEXTS, np.arange(len(TEXTS)))
    with torch_seed(seed, "head"):
        head = Towers(D, width=8, history=1, user="mean", context="off")
    ranker = Ranker(encoder, head).eval()
    head.standardise(encoder.all_items())
    for part in ranker.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return ranker


def make_batch(rows: range, size: int) -> Batch:
    """The events ``rows`` of eight: whoever had item i takes item i + 1, one of them after a typed
    text."""
    item, n = torch.tensor(rows), len(TEXTS)
    typed = item == 5
    return Batch(
        items=torch.arange(n),
        columns=torch.arange(n),
        positive=(item + 1) % n,
        history=torch.where(typed, -1, item)[:, None],
        texts=("ship",) if bool(typed.any()) else (),
        text=torch.where(typed, 0, -1),
        log_weight=torch.zeros(len(rows), n),
        features=torch.zeros(len(FEATURES), len(rows), n),
        label=torch.ones(len(rows)),
        size=size,
        weight=torch.ones(len(rows)),
    )


class Fixed(list[Batch]):
    """Lightning takes a plain list for several loaders."""

    def __init__(self, *batches: Batch, times: int) -> None:
        super().__init__(batches * times)
        self.loader = type(
            "Loader", (), {"__len__": lambda _: len(self), "__iter__": lambda _: iter(self)}
        )()


def train(
    ranker: Ranker,
    batches: Fixed,
    optimiser: Any,
    *,
    accumulate: int = 1,
    world: int = 1,
    epochs: int = 1,
) -> Fitted:
    return fit(
        ranker,
        FullSoftmax(),
        lambda epoch: batches.loader,
        optimiser,
        Budget(epochs=epochs, accumulate=accumulate, clip=None),
        Machine(processes=world),
        seed=0,
        name="test",
    )


def fast(named: Named) -> Any:
    return adamw(named, lr=0.03, body_lr=0.005, weight_decay=0.0)


def plain(named: Named) -> Any:
    return sgd(named, lr=0.02, body_lr=0.02, momentum=0.0)


def train_plainly(ranker: Ranker, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
    """Four steps over all eight events, of which this rank has its share."""
    each = len(TEXTS) // world
    rows = range(rank * each, (rank + 1) * each)
    train(ranker, Fixed(make_batch(rows, len(TEXTS)), times=4), plain, world=world)
    return copy_of(ranker.trainable())


def copy_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def padded(body: Backbone) -> tuple[Tensor, Tensor]:
    """[8, T] right-padded ids of ``TEXTS`` and their mask."""
    end = [body.tokenizer.eos_token_id] if body.causal else []
    rows = [[*body.tokenizer(text)["input_ids"], *end] for text in TEXTS]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return ids, torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows])


@torch.no_grad()
def ask(ranker: Ranker) -> Tensor:
    """[8, 8] scores."""
    scores: Tensor = ranker.eval()(make_batch(range(8), 8))
    return scores


@dataclass(frozen=True)
class Trained:
    """A cell behind its 20 steps. ``before``: all parameters at first. ``losses`` of the steps."""

    ranker: Ranker
    before: dict[str, Tensor]
    losses: list[float]


@pytest.fixture(scope="module")
def trained() -> Callable[[str, str], Trained]:
    known: dict[tuple[str, str], Trained] = {}

    def make(name: str, family: str) -> Trained:
        if (name, family) not in known:
            ranker = make_ranker(name, family)
            before = copy_of(dict(ranker.encoder.named_parameters()))
            fitted = train(ranker, Fixed(make_batch(range(8), 8), times=20), fast)
            known[name, family] = Trained(ranker, before, fitted.losses)
        return known[name, family]

    return make


@families
@cells
def test_before_training_vectors_are_the_untouched_backbones_or_said_not_to_be(
    name: str, family: str
) -> None:
    body, plain_body = make_body(name, family), untouched(family)
    ids, mask = padded(body)
    vectors, expected = body(ids, mask), plain_body(ids, mask)
    assert body.starts_untouched == CELLS[name].no_op == torch.equal(vectors, expected)
    # a prefix is nearly one, three prompts in front of texts of three to twenty bytes are not
    if not CELLS[name].no_op:
        near = torch.cosine_similarity(
            vectors - expected.mean(0), expected - expected.mean(0)
        ).min()
        assert near > (0.9 if name.startswith("prefix") else 0.2)


@families
@cells
def test_exactly_the_declared_parameters_move(
    name: str, family: str, trained: Callable[..., Trained]
) -> None:
    done = trained(name, family)
    body, declared = done.ranker.encoder.body, CELLS[name].declared
    names = {n for n, _ in body.named_parameters() if declared(n)}
    assert {n for n, p in body.named_parameters() if p.requires_grad} == names
    moved = {n for n, p in body.named_parameters() if not torch.equal(p, done.before[f"body.{n}"])}
    # attention ignores what is added to all keys alike, so the gradient of a key's bias is 0 but
    # for rounding
    assert names - moved <= {n for n in names if "key.bias" in n}
    assert moved <= names


@families
@cells
def test_the_number_of_trained_parameters_is_that_of_the_formula(name: str, family: str) -> None:
    counted = sum(p.numel() for p in make_body(name, family).parameters() if p.requires_grad)
    expected = CELLS[name].count(family == "gpt2")
    if name == "full" and family == "roberta":
        assert counted == expected == sum(p.numel() for p in untouched("bert").parameters())
    assert counted == expected


@families
@cells
def test_the_loss_falls_on_what_can_be_learned(
    name: str, family: str, trained: Callable[..., Trained]
) -> None:
    losses = trained(name, family).losses
    assert len(losses) == 20
    assert losses[0] == pytest.approx(math.log(8), abs=1.5)
    assert losses[-1] < 0.8 * losses[0]


@families
@cells
def test_a_checkpoint_holds_what_trained_and_nothing_else(
    name: str, family: str, trained: Callable[..., Trained]
) -> None:
    state = trained(name, family).ranker.trainable()
    of_body = {n.removeprefix("encoder.body.") for n in state if n.startswith("encoder.")}
    expected = {n for n, _ in make_body(name, family).named_parameters() if CELLS[name].declared(n)}
    assert of_body == expected | ({"ranks.kept"} if name == "adalora" else set())


@families
@cells
def test_a_text_alone_is_the_text_in_any_batch(
    name: str, family: str, trained: Callable[..., Trained]
) -> None:
    body = trained(name, family).ranker.encoder.body
    ids, mask = padded(body)
    with torch.no_grad():
        together = body(ids, mask)
        noise = torch.where(mask, ids, 77)
        assert torch.equal(body(noise, mask), together)
        for row, vector in enumerate(together):
            length = int(mask[row].sum())
            alone = body(ids[row : row + 1, :length], mask[row : row + 1, :length])[0]
            torch.testing.assert_close(alone, vector, atol=1e-5, rtol=0)


@families
@cells
def test_bfloat16_runs_and_stays_close(
    name: str, family: str, trained: Callable[..., Trained]
) -> None:
    body = trained(name, family).ranker.encoder.body
    ids, mask = padded(body)
    exact = body(ids, mask)
    with torch.autocast("cpu", torch.bfloat16):
        rough = body(ids, mask).float()
    assert torch.cosine_similarity(rough, exact).min() > 0.995
    assert not torch.equal(rough, exact)
    if name != "frozen":
        (rough * torch.linspace(-1, 1, D)).sum().backward()
        for p in body.parameters():
            assert p.grad is None or bool(p.grad.isfinite().all())
        body.zero_grad()


@families
@cells
def test_accumulated_halves_are_the_whole_batch(
    name: str, family: str, alone: dict[str, dict[str, Tensor]]
) -> None:
    ranker = make_ranker(name, family)
    halves = Fixed(make_batch(range(4), 4), make_batch(range(4, 8), 4), times=4)
    train(ranker, halves, plain, accumulate=2)
    assert_near(ranker.trainable(), alone[f"{name} {family}"])


def assert_near(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        # plain gradient steps: what the order of sums changes stays as small as it is
        torch.testing.assert_close(
            tensor, two[key], atol=2e-5, rtol=1e-4, msg=lambda m, key=key: f"{key}: {m}"
        )


def once(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], None]) -> Path:
    """The folder ``name``, filled by whichever of the processes that run the tests side by side
    comes first."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            part = Path(f"{folder}.part")
            part.mkdir()
            fill(part)
            part.rename(folder)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """Every cell's weights behind four plain steps of one process."""

    def fill(folder: Path) -> None:
        for name in CELLS:
            for family in FAMILIES:
                save(train_plainly(make_ranker(name, family)), folder / f"{name} {family}")

    return {file.name: load_file(file) for file in once(tmp_path_factory, "alone", fill).iterdir()}


def save(state: dict[str, Tensor], file: Path) -> None:
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, file)


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same from one pair of processes, per rank."""
    return once(tmp_path_factory, "ddp", train_by_two)


def train_by_two(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "NODE_RANK": "0"}
    command = [sys.executable, __file__, "ddp", str(folder)]
    both = [
        subprocess.Popen(command, env={**os.environ, **meeting, "LOCAL_RANK": str(rank)})
        for rank in (0, 1)
    ]
    assert [process.wait(300) for process in both] == [0, 0]


@pytest.mark.long
@families
@cells
def test_two_processes_are_one(
    name: str, family: str, by_two: Path, alone: dict[str, dict[str, Tensor]]
) -> None:
    first, second = (load_file(by_two / f"{rank} {name} {family}") for rank in (0, 1))
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())
    assert_near(first, alone[f"{name} {family}"])


@pytest.fixture(scope="module")
def reloaded(trained: Callable[..., Trained], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every cell's checkpoint and, once a fresh process has read it, the scores that it gives."""

    def fill(folder: Path) -> None:
        for name in CELLS:
            for family in FAMILIES:
                save(trained(name, family).ranker.trainable(), folder / f"{name} {family}")
        subprocess.run([sys.executable, __file__, "reload", str(folder)], check=True, timeout=300)

    return once(tmp_path_factory, "reloaded", fill)


@pytest.mark.long
@families
@cells
def test_a_fresh_process_gives_the_same_bits(
    name: str, family: str, reloaded: Path, trained: Callable[..., Trained]
) -> None:
    ranker = trained(name, family).ranker
    got = load_file(reloaded / f"scores {name} {family}")["scores"]
    assert torch.equal(got, ask(ranker))
    assert not torch.equal(got, ask(make_ranker(name, family)))


@families
@pytest.mark.parametrize("name", ["lora", "rslora, all", "dora, ffn, top", "adalora", "ia3"])
def test_merged_is_unmerged(name: str, family: str, trained: Callable[..., Trained]) -> None:
    ranker = make_ranker(name, family)
    ranker.restore(trained(name, family).ranker.trainable())
    body = ranker.encoder.body
    ids, mask = padded(body)
    apart = body(ids, mask)
    for module in body.modules():
        if isinstance(module, BaseTunerLayer):
            if isinstance(module, IA3Layer):  # peft merges columns and rows, we train vectors
                factors = module.ia3_l["default"].data
                module.ia3_l["default"].data = (
                    factors.view(1, -1) if module.is_feedforward else factors.view(-1, 1)
                )
            module.merge()
            assert module.merged
    torch.testing.assert_close(body(ids, mask), apart, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(apart, untouched(family)(ids, mask), atol=1e-3)


@families
@cells
def test_in_training_frozen_parts_drop_nothing(name: str, family: str) -> None:
    body = make_body(name, family)
    ids, mask = padded(body)
    assert torch.equal(body.train()(ids, mask), body.eval()(ids, mask)) != body.base_trained


@families
@cells
def test_what_is_constant_may_be_kept(
    name: str, family: str, trained: Callable[..., Trained]
) -> None:
    """What the encoder keeps of a text before training, it still is afterwards."""
    ranker = trained(name, family).ranker
    encoder, body = ranker.encoder, ranker.encoder.body
    with torch.no_grad():
        ids, mask = padded(body)
        torch.testing.assert_close(
            encoder.items(torch.arange(8)), body(ids, mask), atol=1e-5, rtol=0
        )
        if body.depth:
            depth, plain_body = body.depth, untouched(family)
            plain_body.depth = depth
            assert torch.equal(body.lower(ids, mask), plain_body.lower(ids, mask))
    lowest = {"frozen": L + 1, "full": 0, "top": L, "dora, ffn, top": L, "pfeiffer, top": L}
    assert body.depth == lowest.get(name, 0 if name == "bitfit" and family != "gpt2" else 1)


# --- AdaLoRA's ranks --------------------------------------------------------------------------------------------------


def matrices(family: str) -> int:
    return L if family == "gpt2" else 2 * L


@families
def test_adaloras_ranks_change_and_meet_the_budget(
    family: str, trained: Callable[..., Trained]
) -> None:
    ranker = trained("adalora", family).ranker
    (ranks,) = ranker.ranks
    assert ranks.is_settled
    assert ranks.kept.shape == (matrices(family), 3)
    assert int(ranks.kept.sum()) == 2 * matrices(family)
    values = torch.stack([p.detach()[:, 0] for n, p in ranker.named_parameters() if "lora_E" in n])
    assert torch.equal(values != 0, ranks.kept.bool())


def test_adaloras_ranks_differ_between_matrices(trained: Callable[..., Trained]) -> None:
    given = [
        row
        for family in FAMILIES
        for row in trained("adalora", family).ranker.ranks[0].kept.sum(1).tolist()
    ]
    assert len(set(given)) > 1


@families
def test_an_update_keeps_adaloras_ranks_and_trains_what_is_left(
    family: str, trained: Callable[..., Trained]
) -> None:
    ranker = make_ranker("adalora", family, seed=3)
    ranker.restore(trained("adalora", family).ranker.trainable())
    kept = ranker.ranks[0].kept.clone()
    before = copy_of(ranker.trainable())
    train(ranker, Fixed(make_batch(range(8), 8), times=5), fast)
    assert torch.equal(ranker.ranks[0].kept, kept)
    values = {n: p for n, p in ranker.trainable().items() if "lora_E" in n}
    for (name, value), mask in zip(values.items(), kept.bool(), strict=True):
        assert torch.equal(value[~mask], torch.zeros_like(value[~mask]))
        assert bool((value[mask] != before[name][mask]).all())


@pytest.mark.parametrize(
    ("batches", "accumulate", "epochs"), [(1, 1, 1), (2, 1, 1), (3, 2, 2), (1, 4, 3), (5, 1, 2)]
)
def test_adaloras_budget_is_met_by_however_short_a_training(
    batches: int, accumulate: int, epochs: int
) -> None:
    ranker = make_ranker("adalora", "bert")
    batch = make_batch(range(8), 8)
    train(ranker, Fixed(batch, times=batches), fast, accumulate=accumulate, epochs=epochs)
    assert int(ranker.ranks[0].kept.sum()) == 2 * matrices("bert")


def test_the_penalty_is_trained_on_and_not_reported_as_loss() -> None:
    ranker, batch = make_ranker("adalora", "bert").train(), make_batch(range(8), 8)
    learner = Learner(ranker, FullSoftmax(), plain)
    # there is no trainer to log to
    learner.log = lambda *_, **__: None  # type: ignore[method-assign]
    loss = learner.training_step(batch, 0)
    penalty = float(ranker.ranks[0].penalty().detach())
    assert penalty > 0.5
    assert float(loss.detach()) - learner.losses[0] == pytest.approx(penalty, abs=1e-5)


def test_training_anew_allocates_anew() -> None:
    ranker = make_ranker("adalora", "bert")
    first = copy_of(ranker.trainable())
    made = []
    for _ in range(2):
        ranker.restore(first)
        assert not ranker.ranks[0].is_settled
        train(ranker, Fixed(make_batch(range(8), 8), times=8), fast)
        made.append(copy_of(ranker.trainable()))
    assert all(torch.equal(tensor, made[1][key]) for key, tensor in made[0].items())
    assert int(made[1]["encoder.body.ranks.kept"].sum()) == 2 * matrices("bert")


def main(task: str, folder: Path) -> None:
    torch.use_deterministic_algorithms(True)
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    for name in CELLS:
        for family in FAMILIES:
            if task == "ddp":
                state = train_plainly(make_ranker(name, family), rank, 2)
                save(state, folder / f"{rank} {name} {family}")
            else:
                # all that this seed draws must come from the checkpoint
                ranker = make_ranker(name, family, seed=9)
                ranker.restore(load_file(folder / f"{name} {family}"))
                save_file({"scores": ask(ranker)}, folder / f"scores {name} {family}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
