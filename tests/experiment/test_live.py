"""A run that goes on: one engine with stage online, nothing lost, nothing answered by two versions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file
from torch import Tensor

from coldlm.config.schema import RunConfig
from coldlm.core.dates import seconds
from coldlm.core.errors import ConfigError, DataError, RunFolderError
from coldlm.data import simulated
from coldlm.experiment.live import Live
from coldlm.experiment.live_files import EventLine, ItemLine, read_version
from coldlm.experiment.run import execute
from coldlm.experiment.version import Question

MakeConfig = Callable[..., RunConfig]

EDGES = "2024-02-10", "2024-02-18", "2024-02-24"
SPLIT = (
    "split.train=null", "split.validation=null", "split.windows=null", "split.t_val=2024-01-25",
    "split.t_test=2024-02-01", "online.probe=0", "stages=[train,online]", "train.validate=false",
)  # fmt: skip


def ending(until: int | None) -> Callable[..., Any]:
    """The simulated world, told of events before a second alone."""
    read = simulated.load

    def load(**keys: Any) -> Any:
        data = read(**keys)
        return data if until is None else replace(data, log=data.log.rows(data.log.time < until))

    return load


def lines(log: Any) -> list[EventLine]:
    columns = zip(log.user.tolist(), log.item.tolist(), log.time.tolist(), strict=True)
    return [EventLine(f"u{user}", f"i{item}", time) for user, item, time in columns]


@pytest.mark.parametrize(
    "schedule",
    [
        ("online=per_window",),
        pytest.param(("online=replay", "online.data.size=50"), marks=pytest.mark.long),
    ],
)
def test_what_goes_on_learns_to_the_bit_what_the_stream_would_have(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch, schedule: tuple[str, ...]
) -> None:
    """Update 3 of a stream of four windows, and of a run that ended behind the second window and was given
    the events of the third."""
    whole = execute(config(*SPLIT, *schedule, f"split.edges=[{','.join(EDGES)}]"), "whole")
    data = simulated.make_world(users=40, items=60, events=600)[0]
    cut, end = map(seconds, EDGES[1:])
    monkeypatch.setattr(simulated, "load", ending(cut))
    short = execute(config(*SPLIT, *schedule, f"split.edges=[{EDGES[0]}]"), "short")
    third = data.log.rows((data.log.time >= cut) & (data.log.time < end))
    now = [int(third.time[0])]
    live = Live(short, clock=lambda: now[0])
    assert live.number == 1
    second = live.update()
    assert second is not None
    live.add_events(lines(third)[:20])
    _ = live.version  # what comes in grows the world a few at a time
    live.add_events(lines(third)[20:])
    now[0] = int(data.log.time[data.log.time >= end][0])
    assert live.update() is not None
    live.close()
    expected = load_file(whole / "online.safetensors")
    saved = read_version(short / "live")
    assert saved is not None
    for name, tensor in expected.items():
        assert np.array_equal(tensor, saved[0]["weights"][name]), name
    updates = pl.read_parquet(whole / "updates.parquet")
    assert live.learned[-1]["n_events"] == updates["n_events"][-1] >= len(third)


@pytest.fixture(scope="module")
def ended(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(finished, tmp_path_factory.mktemp("ended") / "run")


@pytest.fixture
def run(ended: Path) -> Path:
    """A finished run of which nothing has gone on yet."""
    shutil.rmtree(ended / "live", ignore_errors=True)
    return ended


@pytest.fixture
def live(run: Path) -> Iterator[Live]:
    live = Live(run)
    yield live
    live.close()


def n_of(live: Live, item: str) -> int:
    return int(live.version.world.as_of.n_item(np.array([live.item(item)]), np.array(live.now))[0])


def test_what_was_taken_counts_at_once_and_a_new_item_is_ranked_at_once(live: Live) -> None:
    before = n_of(live, "i3")
    assert live.add_events([EventLine("somebody", "i3", text="guitar", request="a")]) == 1
    assert n_of(live, "i3") == before + 1
    assert live.add_events([EventLine("somebody", "i3", request="a")]) == 0  # sent again
    live.add_items([ItemLine("fresh", "guitar", "guitar melody drummer concert")])
    listed, also = live.version.recommend(Question(live.now, "guitar melody"), 61, also=[60])
    assert [listed[place.rank - 1] for place in also] == [p for p in listed if p.code == 60]
    assert live.item("fresh") in [place.code for place in listed]
    live.add_events([EventLine("somebody", "fresh")])
    assert n_of(live, "fresh") == 1
    user = live.user("somebody")
    mine, _ = live.version.recommend(Question(live.now, user=user), 61)
    assert len(mine) == 61 - 2  # what somebody has had does not come again


def test_text_and_counts_add_up_to_the_score_and_kept_places_are_kept(live: Live) -> None:
    live.add_items([ItemLine("fresh", "tulip", "tulip pruning")])
    for place in live.version.recommend(Question(live.now, "guitar"), 8)[0]:
        assert place.text is not None
        assert place.context is not None
        assert place.score == pytest.approx(place.text + place.context, abs=1e-5)
    n = live.version.world.as_of.n_item(np.arange(61), np.array(live.now))
    everybody, _ = live.version.recommend(Question(live.now, "guitar"), 61)
    shelf = int(np.sort(n)[4])  # a few items have so few events
    kept, _ = live.version.recommend(Question(live.now, "guitar"), 10, 3, shelf)
    best = [place.code for place in everybody if place.n <= shelf][:3]
    assert [p.code for p in kept if p.n <= shelf][:3] == best
    assert [p.score for p in kept] == sorted((p.score for p in kept), reverse=True)


def test_what_was_typed_is_learned_from(run: Path) -> None:
    learned = {}
    for typed in ("", "tulip pruning", "guitar"):
        shutil.rmtree(run / "live", ignore_errors=True)
        live = Live(run, clock=lambda: 0)
        live.add_events([EventLine(f"x{i}", f"i{i}", text=typed) for i in range(3)])
        live.update()
        data = live.version.world.data
        assert data.users.queries == ((typed,) if typed else ())
        assert (None if data.log.query is None else data.log.query[-3:].tolist()) == (
            [0, 0, 0] if typed else None
        )
        places, _ = live.version.recommend(Question(live.now, "tulip"), 20)
        learned[typed] = [place.score for place in places]
        live.close()
    assert len({*map(tuple, learned.values())}) == 3


def test_a_restart_is_as_if_it_had_never_stopped(run: Path) -> None:
    live = Live(run, clock=lambda: 0)
    live.add_items([ItemLine("fresh", "tulip", "tulip pruning")])
    live.add_events([EventLine("x", "fresh"), EventLine("u3", "i7", text="tulip")])
    first = live.update()
    assert first is not None
    assert first.update.version == live.number == 5
    live.add_events([EventLine("u4", "fresh", text="compost")])
    asked = Question(live.now, "tulip", live.user("x"))
    before, waiting = live.version.recommend(asked, 20)[0], live.waiting
    live.close()
    again = Live(run, clock=lambda: 0)
    assert (again.number, again.waiting, again.now) == (5, waiting, asked.time)
    after, _ = again.version.recommend(asked, 20)
    assert [p.code for p in after] == [p.code for p in before]
    assert [p.score for p in after] == pytest.approx([p.score for p in before], abs=1e-4)
    with pytest.raises(RunFolderError, match="another process"):
        Live(run)
    again.close()


def before_and_after(live: Live) -> tuple[Tensor, Tensor, Tensor]:
    """What a version says of a typed text before the next is made and after, and what the next says."""
    live.add_items([ItemLine("fresh", "tulip", "tulip pruning")])
    live.add_events([EventLine("x", "fresh", text="tulip"), EventLine("u3", "i7")])
    version, asked = live.version, Question(live.now, "compost and tulip", history=[3, 60])
    before = version.score(asked)[0]
    learned = live.update()
    assert learned is not None
    assert learned.update.n_events > 0
    return before, version.score(asked)[0], live.version.score(asked)[0]


def test_a_version_answers_alike_after_the_next_was_made(live: Live) -> None:
    before, after, new = before_and_after(live)
    assert after.equal(before)
    assert not new.equal(before)
    assert len(new) == 61


@pytest.mark.long
@pytest.mark.parametrize(
    "overrides",
    [
        ("strategy=lora", "strategy.rank=2"),
        ("strategy=top", "head.fusion=gate"),
        ("strategy=full", "online=long_short"),
        ("strategy=frozen", "online=retrain"),
        ("strategy=frozen", "head.context=only"),
        ("strategy=lora", "strategy.stream_adapters=3", "online=adapter_per_update"),
        ("strategy=frozen", "online=ewc", "online.optimiser=keep"),
    ],
    ids=" ".join,
)
def test_other_models_and_schedules_go_on_too(
    config: MakeConfig, overrides: tuple[str, ...]
) -> None:
    run = execute(config("stages=[train,online]", *overrides), "run")
    live = Live(run)
    if "head.context=only" not in overrides:
        before, after, new = before_and_after(live)
        assert after.equal(before)
        assert not new.equal(before)
    live.add_events([EventLine("y", "i9"), EventLine("u3", "i8")])
    assert live.update() is not None
    scores, now = live.version.score(Question(live.now))[0], live.now
    live.close()
    again = Live(run, clock=lambda: now)
    assert np.allclose(scores, again.version.score(Question(now))[0], atol=1e-4)
    again.close()


def test_a_torn_line_is_dropped_and_told_and_a_damaged_one_refused(run: Path) -> None:
    live = Live(run)
    live.add_events([EventLine("x", "i1"), EventLine("x", "i2")])
    live.close()
    file = run / "live" / "journal.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"event": {"user": "x", "it')
    live = Live(run)
    assert (live.torn, live.received) == (27, 2)
    live.add_events([EventLine("x", "i4")])
    live.close()
    assert file.read_bytes().startswith(whole + b'{"event"')
    file.write_bytes(b"{\n" + whole)
    with pytest.raises(RunFolderError, match="line 1 is damaged"):
        Live(run)


def test_what_cannot_be_taken_is_refused_and_leaves_nothing(live: Live) -> None:
    for events, message in (
        ([EventLine("x", "i1"), EventLine("x", "nothing")], "'nothing' does not exist"),
        ([EventLine("x", "i1", time=5)], "earlier than what is known"),
    ):
        with pytest.raises(DataError, match=message):
            live.add_events(events)
    with pytest.raises(DataError, match="'i5' exists already"):
        live.add_items([ItemLine("i5", "", "")])
    assert (live.received, live.waiting) == (0, live.waiting)


def test_an_update_that_fails_leaves_the_version_before(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.add_events([EventLine("x", "i1")])
    before = {name: t.clone() for name, t in live.version.ranker.trainable().items()}

    def fails(*_: Any) -> None:
        for tensor in live.engine._ranker.trainable().values():
            tensor.zero_()
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(live.engine._updater, "update", fails)
        with pytest.raises(OSError, match="no space"):
            live.update()
    assert live.number == 4
    assert all(t.equal(before[name]) for name, t in live.engine._ranker.trainable().items())
    assert live.update() is not None


@pytest.mark.parametrize("override", ["head=pair", "backbone=random_vectors", "online=oracle"])
def test_a_run_that_cannot_go_on_is_refused(config: MakeConfig, override: str) -> None:
    from coldlm.experiment.live_files import refuse_config

    more = ("loss=binary_cross_entropy",) if override == "head=pair" else ()
    with pytest.raises(ConfigError, match="this run's"):
        refuse_config(config(override, *more))
