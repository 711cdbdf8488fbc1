"""Stage pretrain in whole runs: what it may see, what it leaves, that it repeats itself and is gone
behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from coldlm.commands.recommend import recommend
from coldlm.config.schema import RunConfig
from coldlm.core.columns import PERMUTED
from coldlm.core.errors import ConfigError
from coldlm.experiment.run import execute
from coldlm.experiment.stages import pretrain as pretraining
from coldlm.experiment.world import World, make_world
from coldlm.models.backbone import load

MakeConfig = Callable[..., RunConfig]

pytestmark = pytest.mark.long

SCRATCH = (
    "backbone=scratch_gpt2", "backbone.width=16", "backbone.layers=1", "backbone.heads=2", "backbone.vocabulary=512",
    "pretrain=causal_lm", "pretrain.epochs=2", "pretrain.lr=1e-2", "pretrain.batch_size=16", "train.refit=false",
)  # fmt: skip


def _manifest(folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return said


def _backbone(folder: Path) -> dict[str, bytes]:
    return {
        name: (folder / "backbone" / name).read_bytes()
        for name in ("config.json", "tokenizer.json", "model.safetensors")
    }


def _scores(folder: Path) -> list[float]:
    return (
        pl.read_parquet(folder / "events.parquet")
        .filter(scorer="model", schedule="history")["score"]
        .to_list()
    )


def test_a_run_pretrains_uses_what_comes_of_it_and_goes_on_behind_it(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = execute(config(*SCRATCH, "stages=[pretrain,train,evaluate]"), "whole")
    said = _manifest(whole)
    assert said["done"] == ["pretrain", "train", "evaluate"]
    assert said["axes"]["backbone"] == "scratch_gpt2_causal_lm"
    assert said["pretrain"]["after"] < said["pretrain"]["before"]
    assert said["pretrain"]["texts_until"] == said["dataset"]["dates"]["t_val"]
    assert said["checkpoint"]["date"] == said["pretrain"]["texts_until"][:7]
    assert not said["checkpoint"]["newer_than_t_test"]
    assert sorted(file.name for file in whole.iterdir() if file.name.startswith(".")) == []
    part = execute(config(*SCRATCH, "stages=[pretrain]"), "part")
    assert not (part / "model.safetensors").exists()
    assert _backbone(part) == _backbone(whole)
    monkeypatch.setattr(pretraining, "make_backbone", lambda *_: pytest.fail("pre-trained again"))
    execute(config(*SCRATCH, "stages=[pretrain,train,evaluate]"), "part")
    assert _scores(part) == _scores(whole)
    assert len(recommend(part, query="space", k=3)) == 3
    local = [
        f"backbone.path={whole / 'backbone'}",
        "backbone.pooling=last",
        "stages=[train,evaluate]",
    ]
    other = execute(config("backbone=local", *local, "train.refit=false"), "other")
    assert _scores(other) == _scores(whole)


def test_training_without_the_stage_is_refused(config: MakeConfig) -> None:
    with pytest.raises(
        ConfigError, match=r"there is no pre-trained backbone in .*: add pretrain to stages"
    ):
        execute(config(*SCRATCH, "stages=[train]"), "none")


def test_a_strategy_that_does_not_fit_the_backbone_is_refused_before_pre_training(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        pretraining, "pretrain", lambda *_, **__: pytest.fail("it was trained first")
    )
    with pytest.raises(ConfigError, match="layers"):
        execute(
            config(*SCRATCH, "stages=[pretrain,train]", "strategy=top", "strategy.layers=5"), "none"
        )


def test_a_folder_is_as_new_as_the_texts_that_it_has_seen(config: MakeConfig) -> None:
    folder = execute(config(*SCRATCH, "stages=[pretrain]"), "first") / "backbone"
    assert (
        load(name="x", path=str(folder), released="2018-01").released
        == _manifest(folder.parent)["pretrain"]["texts_until"][:7]
    )
    about = json.loads((folder / "pretrained.json").read_text())
    (folder / "pretrained.json").write_text(
        json.dumps(about | {"texts_until": "2031-05-01T00:00:00"})
    )
    late = ["backbone=local", f"backbone.path={folder}", "stages=[train]", "train.refit=false"]
    said = _manifest(execute(config(*late), "late"))
    assert said["checkpoint"] == {"name": "local", "date": "2031-05", "newer_than_t_test": True}


def _changed(world: World, codes: np.ndarray, text: str) -> World:
    texts = [
        text if i in set(codes.tolist()) else old for i, old in enumerate(world.data.items.texts)
    ]
    return replace(
        world, data=replace(world.data, items=replace(world.data.items, texts=tuple(texts)))
    )


def test_only_texts_known_before_validation_are_seen(config: MakeConfig) -> None:
    world = make_world(config())
    late = np.flatnonzero(world.meets_at >= world.split.t_val)
    early = np.flatnonzero(world.meets_at < world.split.t_val)
    assert len(late)
    texts = pretraining.known_texts(world)
    assert texts == pretraining.known_texts(_changed(world, late, "GARBAGE"))
    assert "GARBAGE" in pretraining.known_texts(_changed(world, early[:2], "GARBAGE"))
    assert len(texts) == len({world.data.items.texts[i] for i in early})
    assert "" not in pretraining.known_texts(_changed(world, early[:2], ""))


def test_permuted_texts_are_seen_as_they_were_before(config: MakeConfig) -> None:
    for control in PERMUTED:
        permuted = make_world(config(f"control={control}"))
        assert permuted.data.text_source is not None
        assert pretraining.known_texts(permuted) == pretraining.known_texts(make_world(config()))


def test_takers_are_those_of_training_and_read_what_their_run_reads(config: MakeConfig) -> None:
    world = make_world(config())
    log, t_val = world.data.log, world.split.t_val
    takers = pretraining.known_takers(world, 8)
    rows = np.flatnonzero((log.time < t_val) & log.positive & ~world.probe)
    pairs = pl.DataFrame({"user": log.user[rows], "item": log.item[rows]}).unique()
    many = pairs.group_by("user").len().filter(pl.col("len") >= 2)
    assert len(takers) == len(many)
    assert int(takers.taken.sum()) == many["len"].sum()
    assert list(takers.texts) == [
        world.data.items.texts[i] for i in np.flatnonzero(world.meets_at < t_val)
    ]
    late = np.flatnonzero(world.meets_at >= t_val)
    assert takers.texts == pretraining.known_takers(_changed(world, late, "GARBAGE"), 8).texts
    permuted = make_world(config("control=permuted_in_cohort"))
    read = pretraining.known_takers(permuted, 8)
    assert read.texts != takers.texts
    assert sorted(read.texts) != []
    assert list(read.texts) == [
        permuted.data.items.texts[i] for i in np.flatnonzero(permuted.meets_at < t_val)
    ]


def test_a_backbone_learns_who_took_what_and_the_run_goes_on_with_it(config: MakeConfig) -> None:
    start = execute(config(*SCRATCH, "stages=[pretrain]"), "start") / "backbone"
    line = (
        "backbone=local", f"backbone.path={start}", "pretrain=item_to_item", "pretrain.epochs=2",
        "pretrain.lr=1e-2", "pretrain.items=32", "train.refit=false",
    )  # fmt: skip
    folder = execute(config(*line, "stages=[pretrain,train,evaluate]"), "taken")
    said = _manifest(folder)
    assert said["axes"]["backbone"] == "local_item_to_item"
    assert said["pretrain"]["after"] < said["pretrain"]["before"]
    assert said["pretrain"]["n_users"] > 10
    assert _backbone(folder)["model.safetensors"] != (start / "model.safetensors").read_bytes()


def test_texts_that_change_are_those_of_t_val(config: MakeConfig) -> None:
    world = make_world(config())
    asked: list[int] = []

    def as_of(times: np.ndarray, until: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        asked.extend({*times.tolist(), *until.tolist()})
        return tuple(f"text {i} then" for i in range(len(times))), times - 1

    changing = replace(world, data=replace(world.data, texts_as_of=as_of))
    early = np.flatnonzero(world.meets_at < world.split.t_val)
    assert pretraining.known_texts(changing) == [f"text {i} then" for i in early]
    assert sorted(asked) == [0, world.split.t_val]


def test_a_checkpoint_is_adapted_with_the_layers_that_are_kept(config: MakeConfig) -> None:
    first = (
        execute(config(*SCRATCH, "backbone.layers=2", "stages=[pretrain]"), "first") / "backbone"
    )
    line = [
        "backbone=local",
        f"backbone.path={first}",
        "backbone.keep_layers=[1]",
        "backbone.pooling=last",
    ]
    line += [
        "pretrain=causal_lm",
        "pretrain.epochs=1",
        "pretrain.batch_size=16",
        "stages=[pretrain,train]",
    ]
    folder = execute(config(*line, "train.refit=false"), "second")
    assert json.loads((folder / "backbone" / "config.json").read_text())["n_layer"] == 1
    said = _manifest(folder)
    assert said["axes"]["backbone"] == "local_causal_lm"
    # it begins as what it was, less a layer, and not at random
    assert said["pretrain"]["before"] < np.log(512)
