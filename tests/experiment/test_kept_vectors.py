"""Item vectors of trained weights, kept between processes: the same lists, and never stale."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from coldlm.commands.recommend import recommend
from coldlm.config.schema import RunConfig
from coldlm.experiment.model import make_ranker, on_kept_vectors, take_snapshot
from coldlm.experiment.run import execute
from coldlm.experiment.world import make_world
from coldlm.models.rankers.ranker import Model
from coldlm.text.encode import TextEncoder

MakeConfig = Callable[..., RunConfig]

LORA = ("strategy=lora", "strategy.rank=2")


def of(config: RunConfig, cache: Path) -> tuple[Model, RunConfig]:
    """A model whose trained weights differ from those that its strategy starts with; and its cache."""
    ranker = make_ranker(replace(config, cache=str(cache / "runs")), make_world(config))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in ranker.trainable().items():
            if not name.startswith("head."):
                tensor += 0.1 * torch.randn(tensor.shape, generator=generator)
    return ranker, replace(config, cache=str(cache))


def keep(config: RunConfig, cache: Path) -> torch.Tensor:
    ranker, where = of(config, cache)
    vectors: torch.Tensor = on_kept_vectors(ranker, where).encoder.all_items()
    assert torch.equal(vectors, ranker.encoder.all_items())
    return vectors


def files(cache: Path) -> set[str]:
    return {file.name for file in (cache / "vectors").glob("*.safetensors")}


@pytest.mark.parametrize("strategy", ["top", "lora", "full", "prompt"])
def test_a_list_is_the_same_to_the_bit_with_and_without(
    strategy: str, config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = "stages=[train]", "train.validate=false", "backbone.max_tokens=24"
    run = execute(config(f"strategy={strategy}", f"cache={tmp_path}", *small), "run")
    asked = {"query": "spaceship galaxy"}, {"history": ["i3", "i5"]}, {"user": "u3"}
    made = [recommend(run, k=60, **which) for which in asked]
    assert len(files(tmp_path)) == 1
    monkeypatch.setattr(TextEncoder, "all_items", None)  # nothing is encoded again
    assert [recommend(run, k=60, **which) for which in asked] == made
    monkeypatch.undo()
    monkeypatch.setattr("coldlm.experiment.model.on_kept_vectors", lambda ranker, _: ranker)
    assert [recommend(run, k=60, **which) for which in asked] == made


@pytest.mark.parametrize(
    "change",
    [
        ("dataset.seed=2",),
        ("backbone.seed=1",),
        ("backbone.max_tokens=12",),
        ("backbone.pooling=cls",),
        ("strategy.alpha=3",),
        ("strategy.rank=3",),
        ("strategy.layers=1",),
        ("control=permuted_text",),
        ("backbone=tiny_gpt2", "backbone.width=16"),
    ],
    ids=" ".join,
)
def test_another_key_that_vectors_depend_on_is_another_file(
    change: tuple[str, ...], config: MakeConfig, tmp_path: Path
) -> None:
    before = keep(config(*LORA), tmp_path)
    assert len(files(tmp_path)) == 1
    after = keep(config(*LORA, *change), tmp_path)
    assert len(files(tmp_path)) == 2
    assert not torch.equal(before, after)
    assert torch.equal(keep(config(*LORA), tmp_path), before)
    assert len(files(tmp_path)) == 2


def test_other_weights_tokens_runtime_or_libraries_are_another_file(
    config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker, where = of(config(*LORA), tmp_path)
    first = on_kept_vectors(ranker, where).encoder.all_items()
    name = next(name for name in ranker.trainable() if not name.startswith("head."))
    with torch.no_grad():
        ranker.trainable()[name].view(-1)[0] += 1e-3
    second = on_kept_vectors(ranker, where).encoder.all_items()
    assert len(files(tmp_path)) == 2
    assert not torch.equal(first, second)
    ranker.encoder.tokens.ids[1] += 1  # as another tokenizer would have it
    on_kept_vectors(ranker, where)
    assert len(files(tmp_path)) == 3
    ranker.encoder.body.fingerprint += "openvino 1.0"
    on_kept_vectors(ranker, where)
    assert len(files(tmp_path)) == 4
    monkeypatch.setattr("coldlm.experiment.model.version", lambda _: "0.0")
    on_kept_vectors(ranker, where)
    assert len(files(tmp_path)) == 5


def test_damaged_vectors_are_made_again_and_told(
    config: MakeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = keep(config(*LORA), tmp_path)
    (file,) = (tmp_path / "vectors").iterdir()
    file.write_bytes(file.read_bytes()[:-10])
    with caplog.at_level(logging.WARNING, "coldlm"):
        assert torch.equal(keep(config(*LORA), tmp_path), before)
    assert f"{file} is damaged" in caplog.text


@pytest.mark.parametrize(
    "overrides",
    [
        ("strategy=frozen",),
        ("control=random_vectors",),
        ("head=pair", "loss=binary_cross_entropy", "loss.draws=4", *LORA),
    ],
)
def test_nothing_is_kept_where_nothing_is_encoded(
    overrides: tuple[str, ...], config: MakeConfig, tmp_path: Path
) -> None:
    made = config(*overrides)
    world = make_world(made)
    ranker, where = make_ranker(made, world), replace(made, cache=str(tmp_path))
    assert on_kept_vectors(ranker, where) is ranker
    take_snapshot(ranker, world)
    assert not files(tmp_path)
