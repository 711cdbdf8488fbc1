"""Every strategy gets the same trials, chosen from on validation alone; what is written can be
run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from coldlm.cli import main
from coldlm.commands import tune
from coldlm.commands.around import draw, own_key
from coldlm.commands.tune import Trial, choose, parse
from coldlm.config.compose import compose_plain, make_plan
from coldlm.config.schema import RunConfig
from coldlm.config.tree import list_options
from coldlm.core.errors import ConfigError, Diverged
from coldlm.experiment import run
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.state import State

MakeConfig = Callable[..., RunConfig]
STRATEGIES = ("frozen", "full", "top", "lora", "adapter", "prefix")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_first_trial_is_the_configuration_and_the_others_are_near_it(
    strategy: str, config: MakeConfig
) -> None:
    base = config(f"strategy={strategy}")
    assert draw(base, 0) == {}
    trials = [draw(base, number) for number in range(1, 16)]
    assert trials[:3] == [draw(base, number) for number in range(1, 4)]
    key = own_key(base.strategy)
    rate = "lr" if strategy == "frozen" else "body_lr"
    assert all(list(v) == [f"optim.{rate}", *([f"strategy.{key}"] if key else [])] for v in trials)
    # whatever the number of trials, no third of the reach is left out (the first trial is in the
    # middle)
    ratios = [math.log10(values[f"optim.{rate}"] / base.optim[rate]) for values in trials]
    assert all(-1.01 < ratio < 1.01 for ratio in ratios)
    for n in (3, 6, 15):
        assert {min(int((ratio + 1) * 1.5), 2) for ratio in [0.0, *ratios[:n]]} == {0, 1, 2}


@pytest.mark.long
def test_sizes_are_those_that_the_backbone_has(config: MakeConfig) -> None:
    def sizes(strategy: str, key: str) -> set[float | int]:
        base = config(f"strategy={strategy}")
        return {draw(base, number)[f"strategy.{key}"] for number in range(1, 16)}

    assert sizes("top", "layers") == {1, 2}  # of the tiny backbone's two layers
    assert sizes("lora", "rank") == {2, 4, 8, 16, 32}
    keys = {
        name: own_key(config(f"strategy={name}").strategy) for name in list_options()["strategy"]
    }
    assert keys == {
        "frozen": None, "full": None, "bitfit": None, "ia3": None, "top": "layers", "lora": "rank", "adalora": "rank",
        "adapter": "bottleneck", "prefix": "length", "prompt": "length",
    }  # fmt: skip
    assert own_key(config("strategy=lora", "strategy.match_params=500").strategy) is None


def test_all_strategies_get_the_same_multiples_of_their_rate(config: MakeConfig) -> None:
    bases = [config(f"strategy={name}") for name in STRATEGIES]
    for number in range(1, 5):
        # frozen has none
        assert len({draw(base, number).get("optim.body_lr") for base in bases}) == 2
        frozen, other = (draw(base, number) for base in bases[:2])
        assert frozen["optim.lr"] / bases[0].optim["lr"] == pytest.approx(
            other["optim.body_lr"] / bases[1].optim["body_lr"], rel=0.02
        )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("strategy=top trials=", "got strategy=top trials="),
        ("strategy= trials=3", "needed: names of strategies and a number of trials"),
        ("strategy=top trials=0", "a number of trials from 1"),
        ("strategy=top trials=2 -m", "-m is not taken"),
        ("strategy=top seed=1,1", "numbers from 0, each once"),
        ("strategy=top seed=1,x", "got seed=1,x"),
        ("strategy=top trials=2 stages=[evaluate]", "runs the stage train"),
    ],
)
def test_a_line_that_says_too_little_or_too_much_is_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        parse(line.split())


def test_a_line_that_leaves_it_open_tunes_every_strategy() -> None:
    assert parse(["sweep=tune", "seed=2"]) == (
        list_options()["strategy"],
        8,
        [2],
        ["seed=2", "output=tuned"],
    )
    assert parse(["strategy=top", "output=mine"]) == (["top"], 8, [], ["output=mine"])
    assert parse(["strategy=top", "seed=3,1"]) == (["top"], 8, [3, 1], ["output=tuned"])


@pytest.mark.long
def test_the_sweep_is_the_command(
    capsys: pytest.CaptureFixture[str], tuned: tuple[Path, list[str], list[str]]
) -> None:
    _, line, trained = tuned
    said, n_trained = capsys.readouterr().out, len(trained)
    assert main(["run", "sweep=tune", *line]) == 0
    assert trained[n_trained:] == ["top,trial=2"]  # which is tried again; the others are read
    assert capsys.readouterr().out.splitlines()[-4:] == said.splitlines()[-4:]


def test_a_trial_with_several_seeds_counts_as_their_mean(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, trained = config("seed=9"), dict[str, int]()
    scores = {1: 0.25, 2: 0.75}

    def train(trial: RunConfig, name: str, _: object) -> float:
        trained[name] = trial.seed
        return scores.get(trial.seed, 0.0)

    monkeypatch.setattr(tune, "_train", train)
    (trial,) = tune.tune(base, "frozen", 1, [1, 2])
    assert trial.score == 0.5
    assert trained == {"frozen,trial=0,seed=1": 1, "frozen,trial=0,seed=2": 2}
    scores[2] = -math.inf  # one that diverges is not chosen, whatever the others have
    assert tune.tune(base, "frozen", 1, [1, 2])[0].score == -math.inf
    trained.clear()
    tune.tune(base, "frozen", 1)
    assert trained == {"frozen,trial=0": 9}


def test_trials_run_in_one_process(config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.devices=2: trials run in one process"):
        tune.tune(config("trainer.devices=2"), "frozen", 1)


def test_the_best_is_chosen_the_earliest_of_equals_and_never_one_that_diverged() -> None:
    scores = {"top": [0.1, 0.3, 0.3, -math.inf], "frozen": [0.9]}
    trials = [
        Trial(name, number, {}, score)
        for name, row in scores.items()
        for number, score in enumerate(row)
    ]
    assert (choose(trials, "top").number, choose(trials, "frozen").number) == (1, 0)


@pytest.fixture
def tuned(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[str], list[str]]:
    """A tuning of two strategies, its command line, and the trainings that were carried out."""

    def refuse(*_: object) -> None:
        raise AssertionError("the stream was scored")

    monkeypatch.setattr(Evaluation, "judge_stream", refuse)
    trained: list[str] = []
    original = run.STAGES["train"]

    def train(state: State) -> None:
        trained.append(state.inputs.record.name)
        if state.inputs.record.name == "top,trial=2":
            raise Diverged("too fast")
        original(state)

    monkeypatch.setitem(run.STAGES, "train", train)
    line = [
        "dataset=simulated",
        "dataset.users=40",
        "dataset.items=60",
        "dataset.events=600",
        "backbone=tiny_bert",
    ]
    line += ["backbone.width=16", "train.epochs=1", "strategy=frozen,top", "trials=3"]
    line += [f"output={tmp_path / 'tuned'}", f"cache={cache}"]
    assert tune.main(line) == 0
    return tmp_path / "tuned", line, trained


def test_every_strategy_has_as_many_trials_and_the_stream_is_not_scored(
    tuned: tuple[Path, list[str], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, line, trained = tuned
    frame = pl.read_csv(folder / "trials.csv")
    assert frame["strategy"].value_counts().sort("strategy").rows() == [("frozen", 3), ("top", 3)]
    assert sorted(trained) == [f"{name},trial={n}" for name in ("frozen", "top") for n in range(3)]
    assert not list(folder.rglob("events.parquet"))
    assert frame.filter(strategy="top", trial=2)["validation"].to_list() == [-math.inf]

    # the same command reads what is finished, and tries again what was not
    trained.clear()
    before = (folder / "trials.csv").read_text()
    assert tune.main(line) == 0
    assert trained == ["top,trial=2"]
    assert (folder / "trials.csv").read_text() == before

    # what is written is taken by itself, and says its budget
    said = capsys.readouterr().out.splitlines()[-1]
    own = [word for word in line if not word.startswith(("strategy=", "trials=", "output="))]
    assert said.partition("use: ")[2] == shlex.join(
        ["coldlm", "run", "-m", "--config-dir", str(folder), *own, "strategy=frozen,top"]
    )
    for name in ("frozen", "top"):
        best = (
            frame.filter(strategy=name)
            .sort("validation", "trial", descending=[True, False])
            .row(0, named=True)
        )
        words = [*own, f"strategy={name}"]
        assert make_plan(["--config-dir", str(folder), *words]).problems == []
        config = compose_plain([f"hydra.searchpath=[file://{folder}]", *words])
        assert config["strategy"]["_target_"] == f"coldlm.models.strategy.{name}"
        assert config["tuning"]["trials"] == 3
        if best["trial"]:
            chosen = {key: value for key, value in best.items() if "." in key and value}
            assert set(config["tuning"]["keys"]) == set(chosen)
            parts = {key: key.split(".") for key in chosen}
            assert {key: config[g][k] for key, (g, k) in parts.items()} == chosen


@pytest.mark.long
def test_what_is_written_for_an_experiment_is_taken_where_it_is_run(tmp_path: Path) -> None:
    trials = [Trial("top", 0, {}, 0.1), Trial("top", 1, {"optim.body_lr": 0.5}, 0.2)]
    line = ["experiment=quickstart", "trials=2", "strategy=top"]
    tune.write(tmp_path, trials, line)
    assert [file.name for file in (tmp_path / "tuned").iterdir()] == ["quickstart_top.yaml"]
    search = f"hydra.searchpath=[file://{tmp_path}]"
    tuned = compose_plain([search, "experiment=quickstart", "strategy=top"])
    assert (tuned["optim"]["body_lr"], tuned["tuning"]["trials"]) == (0.5, 2)
    other = compose_plain([search, "experiment=quickstart", "strategy=lora"])
    assert (other["optim"]["body_lr"], other["tuning"]["trials"]) == (5e-5, 0)
