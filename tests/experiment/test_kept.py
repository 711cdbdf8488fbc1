"""What cells of a sweep share: runs that differ in their schedules alone train once before the stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from coldlm.config.schema import RunConfig
from coldlm.experiment import baselines
from coldlm.experiment.kept import Kept, training_key
from coldlm.experiment.run import execute
from coldlm.experiment.stages import train

MakeConfig = Callable[..., RunConfig]

SMALL = (
    "stages=[train,online]", "strategy=top", "train.epochs=1", "evaluate.latency_requests=0", "split.windows=2",
)  # fmt: skip


def manifest(folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return said


def test_schedules_over_one_training_say_what_each_says_alone(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    real = train._train
    monkeypatch.setattr(train, "_train", lambda state: made.append("anew") or real(state))
    alone = execute(config(*SMALL, "online=per_window"), "alone")
    kept = Kept()
    first = execute(config(*SMALL, "online=history"), "first", kept)
    second, third = (
        execute(config(*SMALL, "online=per_window"), name, kept) for name in ("second", "third")
    )
    assert len(made) == 2
    file = "model.safetensors"
    assert (alone / file).read_bytes() == (second / file).read_bytes()
    left, right = (
        pl.read_parquet(folder / "events.parquet").drop("run") for folder in (alone, second)
    )
    assert_frame_equal(left, right, check_exact=True)
    told = [manifest(folder).get("trained_by") for folder in (alone, first, second, third)]
    assert told == [None, None, "first", "first"]
    mine, its = manifest(second), manifest(first)
    assert all(mine[fact] == its[fact] for fact in train.FACTS if fact != "peak_memory_mb")
    assert mine["peak_memory_mb"] >= its["peak_memory_mb"]  # it stands for the training, too
    assert mine["seconds"]["train"] == its["seconds"]["train"]
    assert json.loads((second / "model.json").read_text())["run"] == "second"


def test_seeds_share_the_baselines_but_the_one_that_is_drawn(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    real = baselines.make_baselines
    monkeypatch.setattr(
        baselines, "make_baselines", lambda *given: made.append("anew") or real(*given)
    )
    whole = (
        "stages=[train,evaluate]",
        "strategy=frozen",
        "train.epochs=1",
        "online=off",
        "evaluate.lists=5",
    )
    alone = execute(config(*whole, "seed=2"), "alone")
    kept = Kept()
    runs = [execute(config(*whole, f"seed={seed}"), f"seed {seed}", kept) for seed in (1, 2, 1)]
    assert len(made) == 2
    for file in ("events.parquet", "results.parquet", "lists.parquet"):
        left, right, first, again = (
            pl.read_parquet(folder / file).drop("run", strict=False)
            for folder in (alone, runs[1], runs[0], runs[2])
        )
        assert_frame_equal(left, right, check_exact=True)
        assert_frame_equal(first, again, check_exact=True)
        drawn, other = (
            frame.filter(pl.col("scorer") == baselines.DRAWN) for frame in (first, left)
        )
        assert not drawn.equals(other)
    told, others = manifest(runs[1]), manifest(alone)
    assert all(told[fact] == others[fact] for fact in ("on_validation", "shown", "leaks"))
    execute(config(*whole, "seed=1", "evaluate.rivals=[bm25]"), "rivals", kept)
    execute(config(*whole, "seed=2", "evaluate.rivals=[bm25]"), "rivals 2", kept)
    assert len(made) == 4  # rivals may draw


def test_a_training_is_told_by_all_that_it_depends_on(config: MakeConfig) -> None:
    files = {"interactions.csv": "1"}
    key = training_key(config(), files)
    for same in ("online=replay", "online.lr_factor=.1", "output=elsewhere", "stages=[train]"):
        assert training_key(config(same), files) == key, same
    for other in (
        "seed=2", "strategy=top", "train.epochs=9", "online.probe=.2", "online.label_delay_seconds=60", "optim.lr=.1",
        "evaluate.k=5", "trainer.threads=2", "dataset.seed=3", "split.windows=3", "head.history=2", "release_slot=day",
    ):  # fmt: skip
        assert training_key(config(other), files) != key, other
    assert training_key(config(), {"interactions.csv": "2"}) != key


@pytest.mark.parametrize(
    "other", ["seed=2", "backbone=scratch_bert pretrain=masked_lm pretrain.max_steps=1"]
)
def test_what_trains_otherwise_trains_anew(config: MakeConfig, other: str) -> None:
    kept, overrides = Kept(), (*SMALL, "stages=[pretrain,train]", *other.split())
    before = (*SMALL, "stages=[train]") if "pretrain" not in other else overrides
    execute(config(*before), "first", kept)
    assert "trained_by" not in manifest(execute(config(*overrides), "second", kept))
