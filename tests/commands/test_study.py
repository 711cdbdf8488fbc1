"""A study starts each trial once, whoever works on it, and the same seed draws the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from coldlm.commands import study as studies
from coldlm.commands import tune
from coldlm.commands.space import Asked, Between, OneOf
from coldlm.commands.study import STARTUP, Study, search, trial_of
from coldlm.config.schema import RunConfig
from coldlm.core.errors import ConfigError, RunFolderError

MakeConfig = Callable[..., RunConfig]
Judge = Callable[[float], None] | None
SPACE = {"optim.lr": Between(1e-4, 1e-1, log=True), "head.history": OneOf((3, 10))}
ABOUT = {"sampler": "tpe", "pruner": "none", "space": "x", "seed": "1", "configuration": "c"}


@pytest.fixture
def base(config: MakeConfig) -> RunConfig:
    return config("optim.lr=1e-2", "head.history=5")


def distance(values: dict[str, Any], number: int, judge: Judge) -> float:
    """Best where the rate is 2e-3."""
    return -abs(math.log10(values.get("optim.lr", 1e-2) / 2e-3))


def drawn(base: RunConfig, output: Path, stops: tuple[int, ...], seed: int = 1) -> list[Any]:
    """The trials of a study that was opened anew for each of these budgets."""
    for n in stops:
        opened = Study(base, "top", SPACE, {**ABOUT, "output": str(output)}, seed)
        opened.work(n, distance)
    return [(t.number, t.params, t.value) for t in opened.settled()]


def test_the_same_seed_draws_the_same_and_goes_on_the_same(config: MakeConfig) -> None:
    def of(name: str) -> RunConfig:
        return config("optim.lr=1e-2", "head.history=5", f"output={name}")

    folder = config().output
    whole = drawn(of(f"{folder}/a"), Path("o"), (7,))
    assert drawn(of(f"{folder}/b"), Path("o"), (2, 7)) == whole
    other = drawn(of(f"{folder}/c"), Path("o"), (4,), seed=2)
    assert not {t[1].get("optim.lr") for t in other[1:]} & {t[1]["optim.lr"] for t in whole[1:]}
    # the configuration is the first; what of it lies in the space teaches
    assert whole[0] == (0, {"optim.lr": 1e-2}, distance({}, 0, None))
    assert len({t[1]["optim.lr"] for t in whole}) == 7
    # what is drawn behind the first few depends on what came of them
    turned = Study(of(f"{folder}/d"), "top", SPACE, ABOUT, 1)
    turned.work(7, lambda values, number, judge: -distance(values, number, judge))
    params = [trial.params for trial in turned.settled()]
    assert params[:STARTUP] == [t[1] for t in whole[:STARTUP]]
    assert params[STARTUP:] != [t[1] for t in whole[STARTUP:]]


def test_a_trial_whose_process_died_counts_and_one_whose_process_lives_is_nobody_elses(
    base: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    class Killed(BaseException):
        pass

    opened = Study(base, "top", SPACE, ABOUT, 1)
    opened.work(1, distance)
    opened._study.ask()  # and dies: nobody holds its lock
    seen: list[int] = []

    def train(values: dict[str, Any], number: int, judge: Judge) -> float:
        seen.append(number)
        if number == 2:  # meanwhile another process takes up the next ones
            Study(base, "top", SPACE, ABOUT, 1).work(4, train)
        return 0.5

    opened.work(4, train)
    assert seen == [2, 3]
    trials = [trial_of("top", SPACE, trial) for trial in opened.settled()]
    assert [trial.state for trial in trials] == ["complete", "failed", "complete", "complete"]
    assert (trials[1].score, trials[1].seconds) == (-math.inf, None)
    assert all(trial.seconds is not None for trial in trials if trial.number != 1)
    assert "top, trial 1 failed, and counts: its process died" in capsys.readouterr().err


def test_a_failure_counts_and_one_that_all_would_meet_ends_the_work(
    base: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = Study(base, "top", SPACE, ABOUT, 1)

    def train(values: dict[str, Any], number: int, judge: Judge) -> float:
        if number == 1:
            raise MemoryError("too large")
        if number == 3:
            raise RunFolderError("of another")
        return -math.inf if number == 2 else 0.5

    with pytest.raises(RunFolderError):
        opened.work(5, train)
    states = [trial_of("top", SPACE, trial).state for trial in opened.settled()]
    assert states == ["complete", "failed", "diverged", "failed"]
    assert "MemoryError: too large" in capsys.readouterr().err
    opened.work(4, train)
    assert len(opened.settled()) == 4  # all have been started


def test_the_pruner_ends_what_is_below_the_median_at_the_same_epoch(base: RunConfig) -> None:
    opened = Study(base, "top", SPACE, {**ABOUT, "pruner": "median"}, 1)
    epochs: dict[int, int] = {}

    def train(values: dict[str, Any], number: int, judge: Judge) -> float:
        assert judge is not None
        for epoch in range(1, 4):
            epochs[number] = epoch
            judge(0.1 if number == STARTUP and epoch == 2 else 0.1 * epoch)
        return 0.3

    opened.work(STARTUP + 2, train)
    ended = [trial.state for trial in opened.settled()]
    assert ended == [TrialState.COMPLETE] * STARTUP + [TrialState.PRUNED, TrialState.COMPLETE]
    assert epochs == {**dict.fromkeys(range(STARTUP + 2), 3), STARTUP: 2}


def test_another_question_is_another_study(base: RunConfig) -> None:
    Study(base, "top", SPACE, ABOUT, 1)
    with pytest.raises(ConfigError, match="another space: was x, is y"):
        Study(base, "top", SPACE, {**ABOUT, "space": "y"}, 1)
    Study(base, "lora", SPACE, {**ABOUT, "space": "y"}, 1)
    with pytest.raises(ConfigError, match="with seed=1,2 say pruner=none"):
        search({"top": base}, 2, [1, 2], Asked("tpe", "median"))


LINE = [
    "dataset=simulated", "dataset.users=40", "dataset.items=60", "dataset.events=600", "backbone=tiny_bert",
    "backbone.width=16", "train.epochs=2", "train.patience=2", "strategy=frozen", "trials=3", "sampler=tpe",
    "pruner=median",
]  # fmt: skip


def test_the_command_writes_what_it_drew_from_and_prunes_real_trainings(
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(studies, "STARTUP", 1)
    (tmp_path / "space.yaml").write_text("optim.lr: {choices: [1e-4, 0.3]}\n")
    output = tmp_path / "tuned"
    line = [*LINE, f"space={tmp_path / 'space.yaml'}", f"output={output}", f"cache={cache}"]
    assert tune.main(line) == 0
    said = capsys.readouterr().out
    frame = pl.read_csv(output / "trials.csv")
    assert frame["trial"].to_list() == [0, 1, 2]
    assert frame["state"][0] == "complete"
    pruned = frame.filter(state="pruned")["trial"].to_list()
    assert pruned
    assert f"best of 3, {len(pruned)} pruned, {frame['seconds'].sum():.0f} s: " in said
    for number in pruned:
        manifest = (output / f"frozen,trial={number}" / "manifest.json").read_text()
        assert "Pruned: after epoch 1 below the median" in manifest
    written = OmegaConf.load(output / "tuned" / "None_frozen.yaml")
    assert written.tuning == {
        "trials": 3,
        "keys": list(written.tuning["keys"]),
        "sampler": "tpe",
        "space": "optim.lr 0.0001|0.3",
        "pruner": "median",
    }
    # the same command reads all of it
    before = (output / "trials.csv").read_text()
    assert tune.main(line) == 0
    assert (output / "trials.csv").read_text() == before
    assert capsys.readouterr().out == said
