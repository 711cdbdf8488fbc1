"""What cells of a sweep share, and that each says to the bit what it says alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from coldlm.config.schema import RunConfig
from coldlm.core.columns import MODEL
from coldlm.core.compiled import SWITCH
from coldlm.core.tables import Dataset
from coldlm.experiment import baselines
from coldlm.experiment import kept as kept_module
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.kept import Kept, training_key
from coldlm.experiment.run import execute
from coldlm.experiment.stages import evaluate, train
from coldlm.experiment.world import cut_keys, make_world, world_of
from coldlm.runs.manifest import read_manifest
from coldlm.runs.record import Key, Record, Summary
from coldlm.text import encode

MakeConfig = Callable[..., RunConfig]

SMALL = (
    "stages=[train,online]", "strategy=top", "train.epochs=1", "evaluate.latency_requests=0", "split.windows=2",
)  # fmt: skip

SCHEDULES = ("online=history", "online=per_window")


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


WHOLE = ("strategy=frozen", "train.epochs=1", "evaluate.lists=5", "split.windows=2")
CLOCKS = {"latency", "seconds", "train_seconds", "encode_seconds", "spent", "peak_memory_mb"}
"""Columns that no two runs share."""

TOLD = (
    "shown", "leaks", "on_validation", "cohorts", "canaries", "question", "dropped", "others_would_drop", "first_stage",
    "classification", "validation", "dataset", "not_asked", "audit",
)  # fmt: skip
"""What manifests say, less clocks and whose folder it is."""


def said(folder: Path) -> dict[str, object]:
    """All that a run says, to the bit, clocks and its name left out: by file, and by fact of the manifest."""
    tables: dict[str, object] = {}
    for file in folder.glob("*.parquet"):
        table = pl.read_parquet(file).drop("run", *CLOCKS, strict=False)
        tables[file.name] = (
            table.schema,
            repr(table.rows()),
        )  # NaN is not itself, but is written alike
    facts = manifest(folder)
    return tables | {key: facts.get(key) for key in TOLD} | {"timed": [*facts["latency_ms"]]}


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name for each model that stage evaluate has judged."""
    made: list[str] = []
    real = evaluate._judge

    def judge(state: Any, *rest: Any) -> Any:
        made.append(state.inputs.record.name)
        return real(state, *rest)

    monkeypatch.setattr(evaluate, "_judge", judge)
    return made


@pytest.mark.parametrize(
    "head",
    [
        "towers",
        "pair loss=binary_cross_entropy loss.draws=2 head.first_stage=popularity head.rerank=5 head.history=3",
    ],
)
def test_what_is_found_of_the_same_weights_is_found_once(
    config: MakeConfig, judged: list[str], head: str
) -> None:
    own = (*WHOLE, *f"head={head}".split(), "evaluate.latency_requests=1")
    schedules = ("history", "per_window", "off")
    alone = [execute(config(*own, f"online={s}"), f"alone {s}") for s in schedules]
    judged.clear()
    kept = Kept()
    runs = [execute(config(*own, f"online={s}"), s, kept) for s in schedules]
    assert judged == ["history"]
    for left, right in zip(alone, runs, strict=True):
        assert said(left) == said(right)
    assert manifest(runs[1])["latency_ms"] == manifest(runs[0])["latency_ms"]
    assert set(pl.read_parquet(runs[2] / "results.parquet")["run"]) == {"off"}


@pytest.mark.parametrize(
    "other",
    [
        "seed=2", "train.epochs=2", "evaluate.k=5", "control=untrained_strategy", "head.history=2", "evaluate.shelf=1",
    ],
)  # fmt: skip
def test_what_differs_before_the_stream_is_judged_anew(
    config: MakeConfig, judged: list[str], other: str
) -> None:
    own = (*WHOLE, "stages=[train,evaluate]", "strategy=prompt")
    alone = execute(config(*own, other), "alone")
    kept = Kept()
    execute(config(*own), "first", kept)
    assert said(alone) == said(execute(config(*own, other), "second", kept))
    assert judged == ["alone", "first", "second"]


def test_other_weights_are_judged_anew(config: MakeConfig, judged: list[str]) -> None:
    kept, own = Kept(), (*WHOLE, "stages=[train,evaluate]")
    execute(config(*own), "first", kept)
    second = execute(config(*own, "stages=[train]"), "second", kept)
    weights = execute(config(*own, "seed=2", "stages=[train]"), "other") / "model.safetensors"
    (second / "model.safetensors").write_bytes(weights.read_bytes())
    execute(config(*own), "second", kept)
    assert judged == ["first", "second"]


def test_rows_that_stand_once_are_summarised_as_they_stand(config: MakeConfig) -> None:
    """Stage evaluate behind stage online of frozen weights: their rows are there already."""
    own = (*WHOLE, "online=history")

    def backwards(name: str, kept: Kept) -> Path:
        execute(config(*own, "stages=[train,online]"), name, kept)
        return execute(config(*own, "stages=[train,online,evaluate]"), name, kept)

    alone, kept = backwards("alone", Kept()), Kept()
    first = execute(config(*own), "first", kept)
    assert said(alone) == said(backwards("second", kept))
    assert said(first) == said(execute(config(*own), "behind it", kept))


def test_leaks_are_metered_once_for_each_seed(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    real = Evaluation.meter_leaks

    def meter(self: Evaluation, trained: Any) -> dict[str, Any]:
        made.append(self._seed)
        return real(self, trained)

    monkeypatch.setattr(Evaluation, "meter_leaks", meter)
    kept, small = Kept(), ("stages=[train]", "train.epochs=1")
    for number, other in enumerate(("seed=1", "seed=2", "strategy=prompt", "online.probe=.2")):
        folder = execute(config(*small, other), f"run {number}", kept)
        assert manifest(folder)["leaks"]["late_training"] == 0
    assert made == [1, 2, 1]


def arrays(value: object) -> Iterator[np.ndarray[Any, Any]]:
    """All arrays of a world, whatever they lie in."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from arrays(part)
    elif is_dataclass(value) or hasattr(value, "__dict__"):
        for part in vars(value).values():
            yield from arrays(part)


@pytest.mark.parametrize(
    "other",
    [
        "dataset.seed=5", "dataset.half_lives_days=[1.0,2.0,3.0]", "split.windows=3", "split.train=0.5", "split=loo",
        "split.simulated_cold=0.3", "control=permuted_text", "control=permuted_in_cohort",
        "evaluate.queries=300", "online.label_delay_seconds=86400", "online.probe=0.3",
    ],
)  # fmt: skip
def test_what_a_world_is_cut_by_makes_another(config: MakeConfig, other: str) -> None:
    kept = Kept()
    first = kept.world(config("seed=3"))
    assert kept.world(config("seed=3", "strategy=prompt", "train.epochs=9")) is first
    asked = config("seed=3", *([other, "online=off"] if "loo" in other else [other]))
    second, fresh = kept.world(asked), make_world(asked)
    assert second is not first
    assert second.digest == fresh.digest
    assert second.data.items == replace(fresh.data.items, released_at=second.data.items.released_at)
    for one, right in zip(arrays(second), arrays(fresh), strict=True):
        np.testing.assert_array_equal(one, right)
    if "permuted" in other:
        assert kept.world(config("seed=4", other)) is not second
    assert cut_keys(config()) != cut_keys(config("release_slot=day"))


def test_data_that_are_read_anew_are_cut_anew(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept()
    first = kept.world(config())
    data = replace(first.data, hashes={"events.csv": "abc"})
    monkeypatch.setattr(kept_module, "read_data", lambda _: data)
    assert kept.world(config()).data.hashes == {"events.csv": "abc"}


def test_a_world_is_let_go_before_another_is_read(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, held = Kept(), list[bool]()
    real = kept_module.read_data

    def read(config: RunConfig) -> Dataset:
        held.append(kept.cut is not None)
        return real(config)

    monkeypatch.setattr(kept_module, "read_data", read)
    for other in ("seed=1", "seed=2", "dataset.seed=5", "split.windows=3"):
        kept.world(config(other))
    assert held == [False, True, False, False]


class Spy:
    """Stands for a part of a configuration, and writes down what is asked of it."""

    def __init__(self, part: Any, path: str, asked: set[str]) -> None:
        self._part, self._path, self._asked = part, path, asked

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        path = f"{self._path}{name}"
        if is_dataclass(value):
            return Spy(value, f"{path}.", self._asked)
        self._asked.add(path)
        return value


@pytest.mark.parametrize("control", ["none", "permuted_text", "permuted_in_cohort"])
def test_a_world_depends_on_nothing_that_its_key_lacks(config: MakeConfig, control: str) -> None:
    asked, told = set[str](), set[str]()
    settled = config(f"control={control}")
    world_of(Spy(settled, "", asked), make_world(settled).data)  # type: ignore[arg-type]
    cut_keys(Spy(settled, "", told))  # type: ignore[arg-type]
    assert asked == told


def test_a_cell_leaves_its_world_as_it_was(config: MakeConfig) -> None:
    kept, own = Kept(), (*WHOLE, "strategy=top", "stages=[train,evaluate,online,k_shot]")
    world = kept.world(config(*own))
    before = [array.copy() for array in arrays(world)]
    execute(config(*own), "run", kept)
    assert kept.world(config(*own)) is world
    for one, right in zip(before, arrays(world), strict=True):
        np.testing.assert_array_equal(one, right)
    with pytest.raises(ValueError, match="read-only"):
        world.split.part[0] = 1


def test_summaries_of_the_drawn_baseline_are_its_own(config: MakeConfig) -> None:
    kept, own = Kept(), (*WHOLE, "stages=[train,evaluate]")
    runs = [execute(config(*own, f"seed={seed}"), f"seed {seed}", kept) for seed in (1, 2)]
    values = [
        pl.read_parquet(run / "results.parquet").drop("run", "seed", "config_hash") for run in runs
    ]
    for scorer in (MODEL, baselines.DRAWN):
        one, other = (frame.filter(scorer=scorer) for frame in values)
        assert not one.equals(other)
    one, other = (
        frame.filter(~pl.col("scorer").is_in([MODEL, baselines.DRAWN])) for frame in values
    )
    assert_frame_equal(one, other, check_exact=True)


@pytest.mark.long
@pytest.mark.parametrize("strategy", ["frozen", "top", "lora"])
def test_a_table_with_every_shortcut_is_the_one_without_any(
    strategy: str, config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = (
        "stages=[train,evaluate,online]", f"strategy={strategy}", "train.epochs=1", "split.windows=2",
        "evaluate.latency_requests=0", "evaluate.lists=5",
    )  # fmt: skip
    cells = [(*whole, f"seed={seed}", online) for seed in (1, 2) for online in SCHEDULES]

    def table(folders: list[Path]) -> pl.DataFrame:
        frame = pl.concat([pl.read_parquet(folder / "results.parquet") for folder in folders])
        frame = frame.drop("run", "config_hash")
        return frame.sort(frame.columns[: frame.columns.index("value")])

    kept = Kept()
    shared = [execute(config(*cell), f"shared {n}", kept) for n, cell in enumerate(cells)]
    monkeypatch.setenv(SWITCH, "0")
    alone = []
    for n, cell in enumerate(cells):
        monkeypatch.setattr(encode, "READ", {})
        own = config(*cell, f"cache={tmp_path / str(n)}")
        alone.append(execute(own, f"alone {n}"))
    assert_frame_equal(table(shared), table(alone), rel_tol=1e-6, abs_tol=1e-9)


def test_a_summary_is_of_all_rows_or_it_is_made_anew(config: MakeConfig, tmp_path: Path) -> None:
    """Half of what stage evaluate asks stands already, as stage online wrote it."""
    asked = config(*WHOLE, "stages=[train,evaluate]", "online=off")
    whole = execute(asked, "whole")
    rows = pl.read_parquet(whole / "events.parquet").filter(scorer=MODEL, schedule="history")

    def told(name: str, stands: int, known: dict[Key, Summary]) -> list[tuple[Any, ...]]:
        folder = tmp_path / name
        folder.mkdir()
        if stands:
            online = rows.head(stands).with_columns(stage=pl.lit("online"))
            online.write_parquet(folder / "events.parquet")
        manifest_ = read_manifest(whole)
        record = Record(folder, asked, name, manifest_, is_main=True, formulas={})
        record.write_events("evaluate", rows.drop("stage"), known)
        results = pl.read_parquet(folder / "results.parquet").filter(stage="test")
        return results.select("cohort", "metric", "k", "n_events", "value").rows()

    known: dict[Key, Summary] = {}
    everything, half = told("all", 0, known), len(rows) // 2
    assert len(known) == 1
    assert repr(told("again", 0, known)) == repr(everything)
    assert repr(told("half, known", half, known)) == repr(told("half", half, {}))
    assert repr(told("half once more", half, known)) != repr(everything)
