"""Stage online on a small world, over one trained model: what each of its keys promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from safetensors.torch import load_file
from torch import Tensor

from coldlm.config.schema import RunConfig
from coldlm.core.columns import MODEL
from coldlm.core.errors import Diverged, ScoreError
from coldlm.core.tables import DAY, Ints
from coldlm.experiment import probe, saved_stream
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.run import execute
from coldlm.experiment.training import Training
from coldlm.experiment.updater import Updater
from coldlm.experiment.world import World, make_world
from coldlm.learn.fit import Fitted
from coldlm.models.parts.stream_adapters import adapter_number
from coldlm.online import loop
from coldlm.online.data import NewOnly, Past
from coldlm.online.gates import Outcome
from coldlm.online.gates import Probe as ProbeGate
from coldlm.online.regularisers import Distill, Ground
from coldlm.runs.track import Track

MakeConfig = Callable[..., RunConfig]
Run = Callable[..., Path]

SMALL = (
    "split.windows=3", "train.batch_size=64", "train.refit=false", "evaluate.latency_requests=0",
)  # fmt: skip
LORA = ("strategy=lora", "strategy.rank=2", "strategy.dropout=0.0", "optim.body_lr=1e-2")
EVERY = ("online=every_n", "online.trigger.n=25")

CLOCKS = ("seconds", "train_seconds", "encode_seconds", "peak_memory_mb")
"""Columns of ``updates.parquet`` that no two runs have in common."""


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaks are metered elsewhere."""
    none = {"leaks": {}, "dropped": 0, "others_would_drop": {}}
    monkeypatch.setattr(Evaluation, "meter_leaks", lambda *_: none)


@pytest.fixture
def run(config: MakeConfig, over_trained: Callable[..., Path]) -> Run:
    """``run("name", *overrides)``: the folder of stage online alone, over a trained model."""

    def run(name: str, *overrides: str) -> Path:
        strategy = "lora" if "strategy=lora" in overrides else "frozen"
        return over_trained(config(*SMALL, *overrides), name, strategy)

    return run


def events(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "events.parquet").filter(scorer=MODEL).drop("run")


def updates(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "updates.parquet")


def scores(folder: Path) -> list[float]:
    return events(folder)["score"].to_list()


def audit(folder: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((folder / "manifest.json").read_text())["audit"]
    return found


def weights(folder: Path, name: str = "online") -> dict[str, Tensor]:
    return load_file(folder / f"{name}.safetensors")


CLEAN = {"learned_too_early": 0, "scored_by_the_future": 0, "live_too_early": 0}


@pytest.mark.parametrize(
    "strategy",
    [pytest.param((), id="frozen"), pytest.param(LORA, id="lora", marks=pytest.mark.long)],
)
def test_a_rate_of_zero_is_history_alone_to_the_bit(run: Run, strategy: tuple[str, ...]) -> None:
    still = run("still", *strategy, "online=history")
    moved = run("moved", *strategy, *EVERY, "online.lr_factor=0")
    assert len(updates(moved)) > 2
    assert len(updates(still)) == 0
    told = ["schedule", "version", "staleness", "staleness_seconds"]
    assert_frame_equal(events(still).drop(told), events(moved).drop(told), check_exact=True)
    assert events(moved)["version"].n_unique() > 2
    before = weights(trained_model := moved, "model")
    assert all(torch.equal(w, before[name]) for name, w in weights(trained_model).items())
    assert scores(run("real", *strategy, *EVERY)) != scores(still)


def test_a_stream_leaves_what_the_pages_say(run: Run) -> None:
    folder = run("run", *EVERY)
    log, stream = updates(folder), events(folder)
    assert log["number"].to_list() == log["version"].to_list() == list(range(1, len(log) + 1))
    assert set(log["trigger"]) == {"every_n"}
    assert log["reason"][0].endswith(" events")
    assert (log["visible"].diff().drop_nulls() >= 25).all()
    assert (log["newest"] < log["time"]).all()
    assert (log["latency"] == 0).all()
    assert (log["bytes"] > 0).all()
    assert (log["seconds"] >= log["train_seconds"]).all()
    live = [0, *log["live_at"].to_list()]
    for version, time in stream.select("version", "time").iter_rows():
        assert live[version] <= time
        assert version == len(log) or time < live[version + 1]
    assert (stream["staleness_seconds"] >= 0).all()
    assert set(stream["schedule"]) == {"every_n"}
    assert audit(folder) == CLEAN
    assert not (folder / saved_stream.NAME).exists()
    measured = pl.read_parquet(folder / "probes.parquet")
    ends = measured.group_by("window", maintain_order=True).agg(pl.col("version").unique())
    assert ends["window"].to_list() == [-1, 0, 1, 2]
    assert ends["version"].list.len().to_list() == [1] * 4
    assert ends["version"][0].to_list() == [0]
    assert measured["value"].is_between(0, 1).all()
    assert (measured.group_by("part").len()["len"] == 4).all()


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def late(config: MakeConfig) -> tuple[World, World]:
    """A world whose labels are there at once, and the same with labels a week late."""
    settled = config(*SMALL)
    delayed = replace(settled, online=replace(settled.online, label_delay_seconds=7 * DAY))
    return make_world(settled), make_world(delayed)


def test_a_label_that_is_not_there_is_in_no_history_and_no_count(
    late: tuple[World, World],
) -> None:
    at_once, delayed = late
    log, asked = delayed.data.log, delayed.stream
    assert np.array_equal(asked.event, at_once.stream.event)
    history = delayed.as_of.history(asked.user, asked.time, 50)
    for user, time, items in zip(asked.user, asked.time, history, strict=True):
        had = (log.user == user) & log.positive & (log.time + 7 * DAY <= time)
        assert items[items >= 0].tolist() == log.item[had][::-1].tolist()
    item, time = log.item[asked.event], log.time[asked.event]
    n = delayed.as_of.n_item(item, time)
    expected = [
        int(((log.item == i) & log.positive & (log.time + 7 * DAY <= t)).sum())
        for i, t in zip(item, time, strict=True)
    ]
    assert n.tolist() == expected
    assert (n < at_once.as_of.n_item(item, time)).any()
    # features are those of an event that happens when it is known
    features, sooner = (w.as_of.own_features(time, item) for w in (delayed, at_once))
    assert not np.array_equal(features, sooner)
    nothing = n == 0
    assert (features[-1] == nothing).all()  # is_new


def test_nothing_is_trained_on_before_its_label(late: tuple[World, World]) -> None:
    _, world = late
    rows = np.arange(len(world.data.log))
    time = int(world.split.edges[0])
    seen = world.visible(rows, time)
    assert seen.tolist() == [r for r in rows.tolist() if world.data.log.time[r] + 7 * DAY <= time]


@pytest.mark.parametrize("delay", [0, 1])
def test_no_delay_and_one_second_are_the_same(
    config: MakeConfig, late: tuple[World, World], delay: int
) -> None:
    settled = config(*SMALL)
    other = make_world(replace(settled, online=replace(settled.online, label_delay_seconds=delay)))
    asked = late[0].stream
    assert np.array_equal(
        other.as_of.history(asked.user, asked.time, 50),
        late[0].as_of.history(asked.user, asked.time, 50),
    )


@pytest.mark.long
def test_updates_wait_for_labels(run: Run) -> None:
    folder = run("late", *EVERY, f"online.label_delay_seconds={3 * DAY}")
    log = updates(folder)
    assert len(log)
    assert (log["newest"] + 3 * DAY <= log["time"]).all()
    assert audit(folder) == CLEAN
    assert scores(folder) != scores(run("at_once", *EVERY))


def test_an_update_is_live_when_it_has_arrived(run: Run) -> None:
    folder = run("slow", *EVERY, f"online.latency_seconds={2 * DAY}")
    log, stream = updates(folder), events(folder)
    assert (log["latency"] == 2 * DAY).all()
    assert log["live_at"].to_list() == [t + 2 * DAY for t in log["time"]]
    for version, time, latency, age in stream.select(
        "version", "time", "latency", "staleness_seconds"
    ).iter_rows():
        due = [v for v, at in zip(log["version"], log["live_at"], strict=True) if at <= time]
        assert version == max(due, default=0)
        assert latency == (2 * DAY if version else 0)
        if version:
            assert age == time - int(log["live_at"][version - 1])
    # the second is not begun before the first is live
    assert (log["time"].diff().drop_nulls() >= 2 * DAY).all()
    assert audit(folder) == CLEAN


@pytest.mark.long
def test_latency_may_be_that_of_the_machine(run: Run) -> None:
    log = updates(run("machine", *EVERY, "online.latency_scale=1000"))
    expected = 1000 * log["seconds"]
    assert (log["latency"] - expected).abs().max() < 1e-6  # type: ignore[operator]


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_an_optimiser_that_is_kept_goes_on(run: Run) -> None:
    kept = run("kept", *EVERY, "online.optimiser=keep")
    reset = run("reset", *EVERY)
    first = int(updates(reset)["live_at"][1])
    for left, right in ((events(kept), events(reset)),):
        early = pl.col("time") < first  # the first update is the same
        assert_frame_equal(left.filter(early), right.filter(early), check_exact=True)
        assert not left.filter(~early).equals(right.filter(~early))


def test_moments_of_an_update_that_was_rolled_back_are_not_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second update that is rolled back leaves the third as if it had never been."""
    made: list[Any] = []
    train = Updater._train

    def watch(self: Updater, rows: Ints, number: int, now: Any) -> Fitted:
        before = {
            place: {k: v.clone() for k, v in its.items()} for place, its in self._moments.items()
        }
        fitted = train(self, rows, number, now)
        made.append((number, before, self._moments))
        return fitted

    def second(self: ProbeGate, outcome: Outcome) -> str:
        return "on purpose" if len(made) == 2 else ""

    monkeypatch.setattr(Updater, "_train", watch)
    monkeypatch.setattr(ProbeGate, "__call__", second)
    log = updates(run("kept", *EVERY, "online.optimiser=keep", "online/gate=probe"))
    assert log["rolled_back"].to_list()[:3] == [False, True, False]
    assert log["version"].to_list()[:3] == [1, 1, 2]
    (_, _, _), (_, before, after), (_, third, _) = made[:3]
    assert before
    for place, its in before.items():
        for name, value in its.items():
            assert torch.equal(value, after[place][name])
            assert torch.equal(value, third[place][name])


@pytest.mark.long
def test_steps_and_epochs_and_rates_are_those_of_updates(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    fit = Training.fit

    def watch(self: Training, rows: Ints, part: str, **keys: Any) -> Fitted:
        fitted = fit(self, rows, part, **keys)
        seen.append({"steps": len(fitted.losses), "rows": len(rows), **keys})
        return fitted

    monkeypatch.setattr(Training, "fit", watch)
    run("two", *EVERY, "online.epochs=2", "online.rate=constant")
    run("one", *EVERY, "online.epochs=2", "online.max_steps=1")
    two, one = ([s for s in seen if s["max_steps"] == most] for most in (None, 1))
    assert {s["steps"] for s in one} == {1}
    assert {s["steps"] for s in two} == {2}
    assert {s["epochs"] for s in seen} == {2}
    assert {s["warms"] for s in two} == {False}
    assert {s["warms"] for s in one} == {True}


@pytest.mark.parametrize(
    ("scope", "moves"),
    [
        pytest.param("head", "head.", marks=pytest.mark.long),
        pytest.param("context", "head.fusion.", marks=pytest.mark.long),
        ("adapter", "encoder."),
    ],
)
def test_nothing_outside_the_scope_moves(run: Run, scope: str, moves: str) -> None:
    folder = run("run", *LORA, *EVERY, f"online/scope={scope}")
    before, after = weights(folder, "model"), weights(folder)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith(moves) for name in moved)
    assert (updates(folder)["bytes"] < 4 * sum(w.numel() for w in before.values())).all()


@pytest.mark.parametrize("preset", ["lsat", "adapter_per_update"])
def test_adapters_of_the_stream_are_added_to_what_was_trained_before(
    config: MakeConfig, preset: str
) -> None:
    whole = (*SMALL, *LORA, "stages=[train,online]", "train.batch_size=32")
    waits = (f"online={preset}", "strategy.stream_adapters=2", "online.trigger.n=30")
    waits += ("online/trigger=every_n", "online.data.n=40" if preset == "lsat" else "seed=1")
    folder = execute(config(*whole, *waits), preset)
    assert len(updates(folder)) > 2
    before, after = weights(folder, "model"), weights(folder)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    numbers = {adapter_number(name) for name in moved if name.startswith("encoder.")}
    assert numbers == ({1} if preset == "lsat" else {1, 2})
    assert any(name.startswith("head.") for name in moved)
    # it trains before the stream as it does without those that wait
    alone = execute(config(*whole, "online=history"), "alone")
    first = weights(alone, "model")
    assert all(torch.equal(before[name], first[name]) for name in first)


def test_a_short_term_adapter_forgets_the_update_before(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[Tensor] = []
    fit = Training.fit

    def spy(self: Training, rows: Ints, part: str, **keys: Any) -> Fitted:
        if part.startswith("update"):
            named = dict(self._ranker.named_parameters())
            starts.extend(p.clone() for name, p in named.items() if "lora_B.stream1" in name)
        return fit(self, rows, part, **keys)

    monkeypatch.setattr(Training, "fit", spy)
    given = (*SMALL, *LORA, "stages=[train,online]", "strategy.stream_adapters=1")
    folder = execute(config(*given, "online=lsat"), "short")
    assert len(starts) >= 2 * len(updates(folder)) > 2
    assert all((start == 0).all() for start in starts)
    assert any(w.any() for name, w in weights(folder).items() if "lora_B.stream1" in name)


def test_vectors_of_new_items_alone_move_and_hold_others_where_they_are(
    config: MakeConfig,
) -> None:
    given = (*SMALL, "stages=[train,online]", "head.delta=0.5", "train.batch_size=32")
    folder = execute(config(*given, "online/scope=new_items"), "new")
    before, after = weights(folder, "model"), weights(folder)
    moved = {name for name, w in after.items() if not torch.equal(w, before[name])}
    assert moved == {"head.deltas.new"}
    assert before["head.deltas.old"].any(1).sum() > 20
    made = updates(folder)
    assert not made["rolled_back"].any()
    assert made["bytes"].unique().to_list() == [4 * before["head.deltas.new"].numel()]
    assert (made["encode_seconds"] < 1).all()
    # an item that has not entered yet is its text alone
    world = make_world(config(*given))
    new = np.flatnonzero(world.cold_items)
    untouched = world.catalogue.enters_at[new] > made["time"].max()
    assert not after["head.deltas.new"][torch.from_numpy(untouched)].any()
    assert after["head.deltas.new"][torch.from_numpy(~untouched)].any(1).sum() >= 5


@pytest.mark.parametrize("scope", ["head", "adapter", "short_adapter"])
def test_every_scope_can_be_held_to_what_the_version_before_says(
    config: MakeConfig, scope: str
) -> None:
    waits = ("strategy.stream_adapters=1",) if scope == "short_adapter" else ()
    given = (*SMALL, *LORA, *waits, "stages=[train,online]", "train.batch_size=32")
    folder = execute(config(*given, f"online/scope={scope}", "online/regulariser=distill"), scope)
    assert not updates(folder)["rolled_back"].any()
    assert (updates(folder)["n_events"] > 0).all()


def test_an_update_that_begins_at_the_trained_weights_is_held_to_them(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers: list[Any] = []
    begin = Distill.begin

    def spy(self: Distill, ground: Ground) -> None:
        teachers.append(ground.scorer)
        begin(self, ground)

    monkeypatch.setattr(Distill, "begin", spy)
    run("held", *LORA, *EVERY, "online/scope=reset_to_trained", "online/regulariser=distill")
    assert len(teachers) > 2
    assert all(teacher is teachers[0] for teacher in teachers)


@pytest.mark.long
def test_the_head_alone_is_trained_as_on_a_whole_model(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors that stand still are not encoded again: the numbers are those of encoding them."""
    # Adam would make more of rounding than an update of a parameter that hardly matters
    parts = (*LORA, *EVERY, "optim=sgd", "optim.lr=0.5")
    quick = run("quick", *parts, "online/scope=head")
    monkeypatch.setattr(Training, "standing_still", lambda self, vectors: self._ranker)
    slow = run("slow", *parts, "online/scope=head")
    still = run("still", *LORA, "online=history")
    assert np.abs(np.array(scores(quick)) - scores(slow)).max() < 1e-4
    assert np.abs(np.array(scores(quick)) - scores(still)).max() > 1e-2
    assert (updates(quick)["encode_seconds"] < 1).all()


@pytest.mark.long
def test_training_anew_forgets_the_update_before(run: Run) -> None:
    """Behind a window it comes to the same, whatever happened in between."""
    folder = run("anew", "online=retrain", "online.epochs=1")
    log = updates(folder)
    assert log["n_events"].to_list() == sorted(log["n_events"])
    assert (log["n_replayed"][1:] > 0).all()
    assert audit(folder) == CLEAN


# --- the probe and the gates ------------------------------------------------------------------------------------------


def test_nothing_trains_on_the_probe(
    run: Run, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(config(*SMALL, "online.probe=0.3"))
    on = set(np.flatnonzero(world.probe).tolist())
    queries = len(world.validation) + len(world.stream)
    asked = [q.event[q.start[:-1]] for q in (world.validation, world.stream)]
    assert abs(world.probe[np.concatenate(asked)].mean() - 0.3) < 4 * np.sqrt(0.21 / queries)
    seen: set[int] = set()
    batches = Training.batches

    def watch(self: Training, rows: Ints, *args: Any, **keys: Any) -> Any:
        seen.update(rows.tolist())
        return batches(self, rows, *args, **keys)

    monkeypatch.setattr(Training, "batches", watch)
    run("cumulative", *EVERY, "online/data=cumulative", "online.probe=0.3")
    assert len(seen) > 200
    assert on
    assert not seen & on


@pytest.mark.parametrize(
    "strategy",
    [pytest.param((), id="frozen"), pytest.param(LORA, id="lora", marks=pytest.mark.long)],
)
def test_what_is_rolled_back_leaves_no_bit_behind(
    run: Run, strategy: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProbeGate, "__call__", lambda self, outcome: "on purpose")
    parts = ("online/gate=probe", "online/regulariser=ewc", "online.optimiser=keep")
    folder = run("rolled", *strategy, *EVERY, *parts)
    log = updates(folder)
    assert log["rolled_back"].all()
    assert set(log["why"]) == {"on purpose"}
    assert set(log["version"]) == set(log["bytes"]) == {0}
    before = weights(folder, "model")
    assert all(torch.equal(w, before[name]) for name, w in weights(folder).items())
    assert scores(folder) == scores(run("still", *strategy, "online=history"))
    assert set(events(folder)["version"]) == {0}


def test_the_gate_on_the_probe_asks_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.5, 0.6, 0.59, 0.58, *[0.4] * 99])

    def measure(self: probe.Probe, scorer: Any, part: int = -1) -> float:
        return next(values)

    monkeypatch.setattr(probe.Probe, "at_window", lambda *_: None)
    monkeypatch.setattr(probe.Probe, "measure", measure)
    log = updates(
        run(
            "gated", *EVERY, "online.trigger.n=20", "online/gate=probe", "online.gate.epsilon=0.015"
        )
    )
    assert log["probe_before"].to_list()[:4] == [0.5, 0.6, 0.59, 0.58]
    assert log["probe_after"].to_list()[:4] == [0.6, 0.59, 0.58, 0.4]
    assert log["rolled_back"].to_list()[:4] == [False, False, False, True]
    assert log["probe_before"].to_list()[4] == 0.58  # of the weights that are live


def test_weights_that_are_not_finite_are_rolled_back_or_end_the_run(run: Run) -> None:
    spoilt = (*EVERY, "online.lr_factor=1e30", "train.clip=null", "optim=sgd")
    log = updates(run("finite", *spoilt))
    assert log["rolled_back"].all()
    assert log["why"].str.contains("finite|nan").all()
    assert np.isfinite(scores(Path(run("finite", *spoilt)))).all()
    with pytest.raises((Diverged, ScoreError)):
        run("always", *spoilt, "online/gate=always")


# --- leaks that are let in --------------------------------------------------------------------------------------------


def test_learning_from_the_future_is_audited(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def foresee(self: NewOnly, past: Past) -> Ints:
        return np.arange(past.learned, min(past.visible + 40, len(past.log)))

    monkeypatch.setattr(NewOnly, "choose", foresee)
    leaks = audit(run("leaky", *EVERY))
    assert leaks["learned_too_early"] > 0
    assert leaks["scored_by_the_future"] > 0


@pytest.mark.long
def test_the_oracle_is_audited_as_what_it_is(run: Run) -> None:
    leaks = audit(run("oracle", "online=oracle"))
    assert leaks["learned_too_early"] == 2
    assert leaks["scored_by_the_future"] > 0


def test_a_version_that_is_live_too_early_is_audited(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = loop.Stream._go_live
    monkeypatch.setattr(loop.Stream, "_go_live", lambda self, time: honest(self, time + DAY))
    leaks = audit(run("hasty", *EVERY, f"online.latency_seconds={2 * DAY}"))
    assert leaks["live_too_early"] > 0
    assert leaks["scored_by_the_future"] == 0


@pytest.mark.long
def test_a_label_that_is_seen_early_is_audited(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = loop.Clock.of
    monkeypatch.setattr(
        loop.Clock,
        "of",
        staticmethod(lambda log, asked, edges, delay: honest(log, asked, edges, 0)),
    )
    leaks = audit(run("early", *EVERY, f"online.label_delay_seconds={3 * DAY}"))
    assert leaks["learned_too_early"] > 0


# --- interruptions ----------------------------------------------------------------------------------------------------


PARTS = (
    *LORA, *EVERY, "online/data=replay", "online.data.size=60", "online/regulariser=ewc", "online.optimiser=keep",
    "online.save_updates=1", "train.batch_size=16",
)  # fmt: skip


def test_an_interrupted_stage_goes_on_as_if_nothing_had_happened(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, whole = 2, run("whole", *PARTS)
    assert len(updates(whole)) > stop + 1
    update = Updater.update

    class Killed(Exception):
        pass

    def die(self: Updater, now: Any, reason: str, version: int) -> Any:
        if len(now.updates) == stop:
            raise Killed
        return update(self, now, reason, version)

    with monkeypatch.context() as patch:
        patch.setattr(Updater, "update", die)
        with pytest.raises(Killed):
            run("stopped", *PARTS)
    folder = whole.parent / "stopped"
    assert (folder / saved_stream.NAME).is_file()
    assert not (folder / "events.parquet").exists()
    made: list[int] = []

    def count(self: Updater, now: Any, reason: str, version: int) -> Any:
        made.append(len(now.updates) + 1)
        return update(self, now, reason, version)

    monkeypatch.setattr(Updater, "update", count)
    run("stopped", *PARTS)
    assert made[0] == stop + 1  # those before are not made again
    same_files(whole, folder)


def test_loggers_are_told_of_a_stretch_when_it_is_over_and_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    made: list[int] = []
    point, update = Track.point, Updater.update

    def tell(self: Track, axis: str, at: float, values: dict[str, float]) -> None:
        if "stream/version" in values and at > self.last(axis):
            told.append((int(at), len(made)))
        point(self, axis, at, values)

    def count(self: Updater, now: Any, reason: str, version: int) -> Any:
        if len(made) == stop:
            raise KeyboardInterrupt
        made.append(version)
        return update(self, now, reason, version)

    monkeypatch.setattr(Track, "point", tell)
    monkeypatch.setattr(Updater, "update", count)
    stop = 1000
    whole = run("whole", *EVERY, "online.save_updates=1")
    seen = pl.read_parquet(whole / "stream.parquet")["seen"].unique().to_list()
    assert [at for at, _ in told] == sorted(seen)
    # by the time of the second update what is before it has been told, and nothing behind it
    known = updates(whole)["visible"]
    assert 0 < sum(n == 1 for _, n in told) < len(told)
    assert told[-1][1] == len(known)
    logged = pl.read_csv(whole / "metrics.csv", infer_schema_length=None)
    assert logged["stream/all/ndcg@10"].drop_nulls().len() == len(seen)
    # interrupted at the third update, it goes on behind what was told
    stop, before = 2, list(told)
    told.clear()
    made.clear()
    with pytest.raises(KeyboardInterrupt):
        run("stopped", *EVERY, "online.save_updates=1")
    first = [at for at, _ in told]
    assert 0 < len(first) < len(seen)
    stop = 1000
    run("stopped", *EVERY, "online.save_updates=1")
    assert sorted({at for at, _ in told}) == [at for at, _ in before]
    assert len(told) < len(seen) + len(first)
    same_files(whole, whole.parent / "stopped")


@pytest.mark.long
def test_an_interruption_between_updates_is_none_either(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it scores, an update on its way."""
    parts = (*PARTS, f"online.latency_seconds={DAY}")
    whole = run("whole", *parts)
    judge, calls = Evaluation.judge_part, 0

    class Killed(Exception):
        pass

    def die(self: Evaluation, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise Killed
        return judge(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "judge_part", die)
        with pytest.raises(Killed):
            run("stopped", *parts)
    run("stopped", *parts)
    same_files(whole, whole.parent / "stopped")


@pytest.mark.parametrize("damage", ["torn", pytest.param("of another run", marks=pytest.mark.long)])
@pytest.mark.long
def test_a_state_that_cannot_be_used_is_not(
    run: Run, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("whole", *EVERY)
    write = saved_stream.write_state

    class Killed(Exception):
        pass

    def spoil(file: Path, tensors: Any, facts: dict[str, Any]) -> None:
        write(file, tensors, facts if damage == "torn" else facts | {"hash": "another"})
        if damage == "torn":
            file.write_bytes(file.read_bytes()[:-1])
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(saved_stream, "write_state", spoil)
        with pytest.raises(Killed):
            run("stopped", *EVERY, "online.save_updates=1")
    run("stopped", *EVERY, "online.save_updates=1")
    same_files(whole, whole.parent / "stopped")


def same_files(one: Path, other: Path) -> None:
    assert_frame_equal(events(one), events(other), check_exact=True)
    left, right = (updates(folder).drop(CLOCKS) for folder in (one, other))
    assert_frame_equal(left, right, check_exact=True)
    probes = [pl.read_parquet(folder / "probes.parquet") for folder in (one, other)]
    assert_frame_equal(*probes, check_exact=True)
    assert not (other / saved_stream.NAME).exists()
    after = weights(other)
    assert all(torch.equal(w, after[name]) for name, w in weights(one).items())


@pytest.mark.usefixtures("without_releases")
def test_events_of_masked_items_wait_until_their_slot_is_over(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the grid rule counts of a slot's new items are hidden, and weights must not tell
    them."""
    overrides = (
        *SMALL,
        "online=every_n",
        "online.trigger.n=10",
        "release_slot=week",
        "online.probe=0",
    )
    settled = config(*overrides, "stages=[train,online]")
    seen: list[Ints] = []
    fit = Training.fit

    def watched(self: Training, rows: Ints, part: str, **keys: Any) -> Fitted:
        if part.startswith("update"):
            seen.append(rows)
        return fit(self, rows, part, **keys)

    monkeypatch.setattr(Training, "fit", watched)
    folder, world = execute(settled, "masked"), make_world(settled)
    until = world.catalogue.masked_until[world.data.log.item]
    started = updates(folder)["time"].to_numpy()
    assert len(started) == len(seen) > 3
    late = 0
    for time, rows in zip(started, seen, strict=True):
        assert (until[rows] <= time).all()
        late += int((world.data.log.time[rows] < until[rows]).sum())
    assert late > 0  # they were learned, later
    learned = np.concatenate(seen)
    assert len(np.unique(learned)) == len(learned)
    rows = np.arange(len(world.data.log))
    trained = world.visible(rows, world.split.t_test)
    assert (until[trained] <= world.split.t_test).all()
    assert len(trained) < (world.data.log.time < world.split.t_test).sum()
    ready = np.setdiff1d(world.visible(rows, int(started[-1])), trained)
    training = Training(settled, world, None, None, [])  # type: ignore[arg-type]
    assert sorted(learned.tolist()) == training.trainable(ready).tolist()
