"""What must hold on a CUDA device: the CPU's numbers within rounding, and whole runs. ``scripts/gpu_check.sh``
runs them where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch import Tensor

from coldlm.config.build import build
from coldlm.config.schema import RunConfig
from coldlm.core.columns import MODEL
from coldlm.core.tables import TRAIN
from coldlm.experiment.model import make_ranker, standardise, take_snapshot
from coldlm.experiment.run import execute
from coldlm.experiment.training import Training
from coldlm.experiment.world import make_world
from coldlm.learn.fit import Machine
from coldlm.learn.module import event_losses
from coldlm.runs.weights import read_weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

MakeConfig = Callable[..., RunConfig]
STRATEGIES = (
    "frozen", "full", "top", "lora", "adalora", "adapter", "prefix", "prompt", "ia3", "bitfit",
)  # fmt: skip
GPU, MIXED = ("trainer=gpu", "trainer.precision=32-true"), ("trainer=gpu",)
strategies = pytest.mark.parametrize("strategy", STRATEGIES)


class Step:
    """One batch through one model on one device, and what a snapshot of it scores."""

    def __init__(self, config: RunConfig, device: str, mixed: bool = False) -> None:
        world = make_world(config)
        ranker = make_ranker(config, world)
        standardise(ranker, ranker.encoder.all_items(), world.entered_by(world.split.t_val))
        ranker.to(device)
        training = Training(config, world, ranker, Machine(), [])
        rows = training.trainable(world.split.rows(TRAIN))
        batch = training.batches(rows, 0)[0].to(torch.device(device))
        self.scores = take_snapshot(ranker, world)(world.stream.user[:32], world.stream.time[:32])
        ranker.train()
        for part in ranker.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        with torch.autocast(device, torch.bfloat16, enabled=mixed):
            losses = event_losses(build(config.loss), ranker(batch), batch)
        losses.mean().backward()
        self.loss = float(losses.detach().mean())
        self.gradients: dict[str, Tensor] = {
            name: p.grad.detach().cpu()
            for name, p in ranker.named_parameters()
            if p.grad is not None
        }


@strategies
def test_a_step_has_the_loss_the_gradients_and_the_scores_of_the_cpu(
    config: MakeConfig, strategy: str
) -> None:
    settled = config(f"strategy={strategy}")
    own, other = Step(settled, "cpu"), Step(settled, "cuda")
    assert other.loss == pytest.approx(own.loss, rel=1e-4)
    assert other.gradients.keys() == own.gradients.keys()
    for name, gradient in own.gradients.items():
        largest = float(gradient.abs().max())
        difference = float((other.gradients[name] - gradient).abs().max())
        assert difference <= 1e-3 * max(largest, 1e-4), name
    torch.testing.assert_close(other.scores, own.scores, rtol=1e-3, atol=1e-4)


@strategies
def test_sixteen_bits_are_near_thirty_two(config: MakeConfig, strategy: str) -> None:
    settled = config(f"strategy={strategy}")
    own, mixed = Step(settled, "cuda"), Step(settled, "cuda", mixed=True)
    assert mixed.loss == pytest.approx(own.loss, rel=2e-2)
    assert torch.equal(mixed.scores, own.scores)  # scores are of 32 bits whatever training is


def _headline(folder: Path) -> float:
    rows = pl.read_parquet(folder / "results.parquet")
    return float(
        rows.filter(
            scorer=MODEL, schedule="history", window=-1, cohort="all", bucket="all", average="macro", metric="ndcg"
        )["value"].item()
    )  # fmt: skip


@pytest.mark.parametrize("precision", [GPU, MIXED], ids=["32", "16"])
@strategies
def test_a_whole_run_ends_near_the_cpus(
    config: MakeConfig, strategy: str, precision: tuple[str, ...]
) -> None:
    stages = (f"strategy={strategy}", "stages=[train,evaluate,online]", "split.windows=2")
    own = execute(config(*stages), "own")
    other = execute(config(*stages, *precision), "other")
    said: dict[str, Any] = json.loads((other / "manifest.json").read_text())
    assert said["status"] == "FINISHED"
    assert said["leaks"] == json.loads((own / "manifest.json").read_text())["leaks"]
    assert said["peak_memory_mb"] > 0
    assert _headline(other) == pytest.approx(_headline(own), abs=0.05)


def test_what_a_gpu_trained_is_read_on_the_cpu(config: MakeConfig) -> None:
    folder = execute(config("stages=[train]", *GPU), "trained")
    settled = config("stages=[train]")
    world = make_world(settled)
    ranker = make_ranker(settled, world)
    read_weights(folder / "model.safetensors", ranker)
    assert all(torch.isfinite(p).all() for p in ranker.parameters())
    assert ranker.device.type == "cpu"
