"""Strategies in whole runs: what training starts from, ranks that stay through updates, sizes that
are chosen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from coldlm.commands.recommend import recommend
from coldlm.config.schema import RunConfig
from coldlm.experiment.encoder import untrained
from coldlm.experiment.model import first_vectors, make_ranker, standardise
from coldlm.experiment.run import execute
from coldlm.experiment.world import make_world
from coldlm.runs.identity import axes

MakeConfig = Callable[..., RunConfig]

ALL = ("frozen", "bitfit", "lora", "adalora", "ia3", "adapter", "prefix", "prompt", "top", "full")


@pytest.mark.parametrize("name", ALL)
def test_training_starts_from_what_the_model_reads_at_first(name: str, config: MakeConfig) -> None:
    settled = config(f"strategy={name}")
    world = make_world(settled)
    ranker = make_ranker(settled, world)
    vectors = first_vectors(settled, world, ranker)
    torch.testing.assert_close(vectors, ranker.encoder.all_items(), atol=1e-6, rtol=0)
    is_untouched = torch.equal(vectors, untrained(settled, world).all_items())
    assert is_untouched == (name not in ("prefix", "prompt"))
    known = np.arange(len(vectors)) < 30
    standardise(ranker, vectors, known)
    head = ranker.head
    scaled = (ranker.encoder.all_items()[:30] - head.centre) / head.spread
    torch.testing.assert_close(scaled.mean(0), torch.zeros(16), atol=1e-4, rtol=0)
    assert float(scaled.std(0, correction=0).max()) < 1.01


@pytest.fixture
def run(config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``run("strategy=lora")``: the folder of a finished micro run, without baselines."""
    monkeypatch.setattr("coldlm.experiment.stages.evaluate.judge_baselines", lambda *_: None)
    line = ("train.batch_size=64", "optim.body_lr=0.01", "split.windows=2")
    return lambda *overrides: execute(config(*line, *overrides), "run")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("lora", "prompt") else [pytest.mark.long])
        for name in ALL
        if name not in ("frozen", "top", "full")
    ],
)
def test_updates_move_what_trains_and_the_run_recommends(
    name: str, run: Callable[..., Path]
) -> None:
    folder = run(f"strategy={name}")
    model, online = (load_file(folder / f"{part}.safetensors") for part in ("model", "online"))
    moved = {key for key in model if not torch.equal(model[key], online[key])}
    of_body = {key for key in model if key.startswith("encoder.")}
    assert of_body - moved <= {
        key for key in of_body if "key.bias" in key or "ranks.kept" in key or "lora_E" in key
    }
    updates = pl.read_parquet(folder / "updates.parquet")
    assert updates["rolled_back"].to_list() == [False]
    scores = [score for score, *_ in recommend(folder, query="spaceship galaxy", k=60)]
    assert len(set(scores)) > 30
    (folder / "online.safetensors").unlink()  # the model before the update
    assert [score for score, *_ in recommend(folder, query="spaceship galaxy", k=60)] != scores
    said = json.loads((folder / "manifest.json").read_text())
    trained = sum(
        tensor.numel() for key, tensor in model.items() if key in of_body and "ranks" not in key
    )
    head = sum(
        tensor.numel()
        for key, tensor in model.items()
        if key not in of_body | {"head.centre", "head.spread"}
    )
    # of the prior and of the context: saved, but a softmax cannot see them, so they do not train
    levels = 2
    assert said["trainable_parameters"] == trained + head - levels
    assert said["matched"] == {}
    if name == "adalora":
        kept = model["encoder.body.ranks.kept"]
        assert torch.equal(kept, online["encoder.body.ranks.kept"])
        assert int(kept.sum()) == 8 * len(kept) < kept.numel()


def test_an_adalora_run_is_judged_by_what_is_left_of_it(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a refit the best epoch's weights are the model: one in which the budget was not met
    yet cannot be it."""
    monkeypatch.setattr("coldlm.experiment.stages.evaluate.judge_baselines", lambda *_: None)
    line = (
        "strategy=adalora",
        "strategy.tfinal=0.0",
        "train.epochs=3",
        "train.patience=0",
        "train.batch_size=64",
    )
    folder = execute(config(*line, "train.refit=false", "stages=[train]"), "run")
    said = json.loads((folder / "manifest.json").read_text())["validation"]
    assert said["best_epoch"] == len(said["ndcg@10"]) == 3
    kept = load_file(folder / "model.safetensors")["encoder.body.ranks.kept"]
    assert int(kept.sum()) == 8 * len(kept)


def test_a_chosen_size_is_said(run: Callable[..., Path]) -> None:
    folder = run("strategy=adapter", "strategy.match_params=500", "stages=[train]")
    said = json.loads((folder / "manifest.json").read_text())
    # two adapters of m * 33 + 16
    assert said["matched"] == {"bottleneck": 7, "trained": 494, "wanted": 500}
    assert "strategy.match_params chose {'bottleneck': 7" in (folder / "run.log").read_text()
    tensors = load_file(folder / "model.safetensors")
    assert sum(t.numel() for key, t in tensors.items() if key.startswith("encoder.")) == 494


def test_a_label_does_not_name_a_size_that_was_not_used(config: MakeConfig) -> None:
    given = axes(config("strategy=lora"))["strategy"]
    chosen = axes(config("strategy=lora", "strategy.match_params=500"))["strategy"]
    assert given.startswith("lora rank=8 alpha=16")
    assert chosen.startswith("lora alpha=16")
    assert chosen.endswith("match_params=500")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_training_with_graphs_of_few_texts_ends_at_the_same_weights(
    precision: str, config: MakeConfig
) -> None:
    asked = (
        "strategy=lora", "optim=sgd", "optim.lr=0.05", "optim.body_lr=0.05", "train.batch_size=64",
        "train.accumulate=2", "train.clip=0.5", "stages=[train]", f"trainer.precision={precision}",
    )  # fmt: skip
    kept, again = (
        load_file(execute(config(*asked, key), name) / "model.safetensors")
        for name, key in (
            ("kept", "trainer.graph_tokens=null"),
            ("again", "trainer.graph_tokens=256"),
        )
    )
    assert any("lora_B" in key and tensor.abs().max() > 1e-3 for key, tensor in kept.items())
    # blocks of other shapes, in 8 bits under bf16-mixed
    most = 1e-6 if precision == "32-true" else 1e-4
    assert max(float((kept[key] - again[key]).abs().max()) for key in kept) < most
