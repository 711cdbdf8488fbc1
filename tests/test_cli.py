"""The command line: quick help, clear refusals, exit codes, and an installed wheel that works
anywhere."""

import gc
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coldlm import __version__
from coldlm.cli import main
from coldlm.commands.outcomes import Outcome, conclude
from coldlm.config.explain import explain
from coldlm.config.names import MAX_NAME, name_run
from coldlm.config.tree import list_options
from coldlm.core.errors import ConfigError, DataError

REPO = Path(__file__).parents[1]
TINY = ["backbone=tiny_bert", "dataset=simulated"]

Execute = Callable[[dict[str, Any], str], object]


def coldlm(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coldlm", *arguments], capture_output=True, text=True, **options
    )


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Execute], None]:
    """Lets a toy stand in for the run itself, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def use(execute: Execute) -> None:
        toy = SimpleNamespace(execute=lambda config, name, *_: execute(config.plain(), name))
        monkeypatch.setitem(sys.modules, "coldlm.experiment.run", toy)

    return use


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(f"  {command} " in out for command in ("run", "report", "recommend", "data"))


def test_help_is_quick_and_imports_no_hydra() -> None:
    start = time.perf_counter()
    code = (
        "import sys; from coldlm.cli import main; main(['--help']); sys.exit('hydra' in "
        "sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert time.perf_counter() - start < 2


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"coldlm {__version__}\n"


def test_an_unknown_command_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reprot"]) == 2
    assert capsys.readouterr().err == (
        "reprot: no such command; did you mean report? there are: run, sweep, tune, report, recommend, "
        "update, serve, push, export, evaluate, data, completion (coldlm --help)\n"
    )


def test_run_help_shows_groups_keys_and_examples() -> None:
    done = coldlm("run", "--help")
    assert done.returncode == 0
    assert (
        "\nstrategy: adalora, adapter, bitfit, frozen, full, ia3, lora, prefix, prompt, top\n"
        in done.stdout
    )
    assert "coldlm run experiment=quickstart" in done.stdout


def test_run_help_says_what_keys_mean() -> None:
    out = coldlm("run", "--help", "seed=7").stdout
    assert "\nseed: 7 " in out
    assert "\n  batch_size: 512  # training events per step, on average" in out
    assert "\nstrategy:  # strategy=frozen\n" in out
    assert "\n  history: 20  # items of the user's history, newest first\n" in out
    assert "_target_" not in out
    assert "--skip-impossible" in out
    assert max(map(len, out.split("\nKeys, ")[1].splitlines())) <= 120


def test_help_on_an_option_says_what_it_takes() -> None:
    out = coldlm("run", "strategy=lora", "--help").stdout
    assert out.startswith("strategy=lora\nLow-rank updates")
    assert "\nstrategy.rank: 8\n    allowed: an integer from 1\n" in out
    layers = (
        "strategy.layers: null\n    the top n layers only; null: all\n    allowed: an integer "
        "from 1 or null\n"
    )
    assert layers in out
    assert "train." not in out


def test_help_shows_groups_inside_a_group() -> None:
    out = coldlm("run", "--help", "online=replay").stdout
    assert "online/trigger: any_of, budget, every, " in coldlm("run", "--help").stdout
    assert out.startswith("online=replay\nAfter each window, on what was scored in it and as many")
    assert "online/data=replay\n    what an update learns from\n" in out
    assert "online.lr_factor: 0.5\n    times the learning rates of optim\n" in out
    out = coldlm("run", "--help", "seed=3").stdout
    assert "  trigger:  # online/trigger=every_window: when the weights are updated\n" in out
    assert (
        "  epochs: 1  # over what the update learns from; null: as many as validation chose" in out
    )
    out = coldlm("run", "online/trigger=every_n", "--help").stdout
    assert out.startswith("online/trigger=every_n\nWhen n events have become visible")
    assert "online.trigger.n: 500\n    events, of any label\n    allowed: an integer from 1" in out


@pytest.mark.parametrize(
    ("group", "option"), [(g, o) for g, found in list_options().items() for o in found]
)
def test_every_option_can_be_explained(group: str, option: str) -> None:
    text = explain([f"{group}={option}"])
    assert f"{group}={option}\n" in text
    assert len(text.splitlines()) > 2


def test_help_knows_the_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text(
        "# Of my own.\n_target_: coldlm.models.losses.infonce\n# how\n# sharp\ntemperature: 0.1 # "
        "tried\n"
    )
    text = explain(["loss=mine"], str(tmp_path))
    assert "Of my own." in text
    assert "how sharp; tried" in text


def test_the_config_is_shown_quickly_and_without_looking_for_data(tmp_path: Path) -> None:
    start = time.perf_counter()
    done = coldlm("run", "--cfg", "job", "backbone=local", "seed=7", cwd=tmp_path)
    assert time.perf_counter() - start < 3  # about 0.7 s on two idle cores
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nseed: 7\n" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_the_message_alone(tmp_path: Path) -> None:
    done = coldlm("run", *TINY, "train.epoch=1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "1 problem in the configuration:\n  - train.epoch: unknown key; did you mean "
        "train.epochs?\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_run_gets_plain_values_and_a_name_made_from_its_overrides(
    use: Callable[[Execute], None],
) -> None:
    got: list[tuple[dict[str, Any], str]] = []
    use(lambda config, name: got.append((config, name)))
    assert main(["run", *TINY, "seed=3", "output=elsewhere"]) == 0
    ((config, name),) = got
    assert name == config["name"] == "dataset=simulated,backbone=tiny_bert,seed=3"
    assert type(config["optim"]["betas"]) is list
    assert "hydra" not in config
    assert list(Path().iterdir()) == []


def test_what_the_user_can_mend_ends_with_2(
    use: Callable[[Execute], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def execute(config: dict[str, Any], name: str) -> None:
        raise DataError("row 3 is bad")

    use(execute)
    assert main(["run", *TINY]) == 2
    assert capsys.readouterr().err == "row 3 is bad\n"


def test_a_defect_ends_with_1_and_a_traceback(
    use: Callable[[Execute], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def execute(config: dict[str, Any], name: str) -> None:
        raise ZeroDivisionError("oh")

    use(execute)
    assert main(["run", *TINY]) == 1
    assert "ZeroDivisionError: oh" in capsys.readouterr().err


def test_a_failing_cell_does_not_stop_the_others(
    use: Callable[[Execute], None], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def execute(config: dict[str, Any], name: str) -> None:
        seen.append(config["seed"])
        if config["seed"] == 1:
            raise DataError("row 3 is bad")

    use(execute)
    assert main(["run", "-m", *TINY, "seed=1,2", "name=mine"]) == 1
    assert seen == [1, 2]
    name = "mine,dataset=simulated,backbone=tiny_bert,seed="
    assert capsys.readouterr().err.endswith(
        f"1 of 2 runs failed:\n  FAILED  {name}1  DataError: row 3 is bad\n  done    {name}2\n"
    )


def test_a_sweep_file_runs_one_cell_per_strategy(use: Callable[[Execute], None]) -> None:
    seen = []
    use(lambda config, name: seen.append((config["strategy"]["_target_"].rpartition(".")[2], name)))
    assert main(["run", "sweep=strategies", *TINY]) == 0
    tail = "dataset=simulated,backbone=tiny_bert,strategy="
    assert sorted(name for name, _ in seen) == sorted(list_options()["strategy"])
    assert seen == [(strategy, tail + strategy) for strategy, _ in seen]


def test_a_key_that_only_the_swept_options_know_is_taken(use: Callable[[Execute], None]) -> None:
    seen = []
    use(
        lambda config, name: seen.append(
            (config["strategy"]["_target_"].rpartition(".")[2], config["strategy"])
        )
    )
    assert main(["run", "-m", *TINY, "strategy=lora,adapter,top", "strategy.layers=1"]) == 0
    assert [(name, node["layers"]) for name, node in seen] == [
        ("lora", 1),
        ("adapter", 1),
        ("top", 1),
    ]


def test_a_key_that_some_cells_lack_is_refused_with_their_names(
    use: Callable[[Execute], None], capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []
    use(lambda config, name: ran.append(name))
    assert (
        main(["run", "-m", *TINY, "strategy=lora,frozen,bitfit", "strategy.layers=1", "seed=1,2"])
        == 2
    )
    assert capsys.readouterr().err == (
        "2 problems in the configuration:\n"
        "  - strategy.layers: unknown key; strategy=frozen takes none; layers is a key of strategy=top, "
        "adapter, prefix, ia3, lora, adalora (in 2 of 6 cells: strategy=frozen)\n"
        "  - strategy.layers: unknown key; strategy=bitfit takes none; layers is a key of strategy=top, "
        "adapter, prefix, ia3, lora, adalora (in 2 of 6 cells: strategy=bitfit)\n"
    )
    assert ran == []
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("line", "seeds"),
    [
        (["seed=choice(3,1)"], [3, 1]),
        (["seed=range(1,4)"], [1, 2, 3]),
        (["seed=2,1", "hydra.sweeper.max_batch_size=1"], [2, 1]),
        (["--config-dir", ".", "sweep=mine"], [4, 5]),
        (["--config-dir", ".", "sweep=mine", "seed=6,7"], [6, 7]),
    ],
)
def test_all_forms_of_a_sweep_are_taken(
    use: Callable[[Execute], None], line: list[str], seeds: list[int]
) -> None:
    seen: list[int] = []
    use(lambda config, name: seen.append(config["seed"]))
    Path("sweep").mkdir()
    Path("sweep/mine.yaml").write_text(
        "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '4,5'}}}"
    )
    assert main(["run", "-m", *TINY, *line]) == 0
    assert seen == seeds
    assert "hydra:" in Path("runs/multirun.yaml").read_text()


def test_another_sweeper_is_refused(
    use: Callable[[Execute], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["run", "-m", *TINY, "seed=1,2", "hydra.sweeper._target_=hydra_plugins.ax.Sweeper"])
        == 2
    )
    said = capsys.readouterr().err
    assert "hydra" in said
    assert "sweeper" in said
    assert "leave it out" in said


def test_a_glob_stands_for_the_options_that_it_fits(use: Callable[[Execute], None]) -> None:
    seen = []
    use(lambda config, name: seen.append(config["strategy"]["_target_"].rpartition(".")[2]))
    assert main(["run", "-m", *TINY, "strategy=glob(a*)"]) == 0
    assert seen == ["adalora", "adapter"]


def test_impossible_cells_are_left_out_on_demand(
    use: Callable[[Execute], None], capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []
    use(lambda config, name: ran.append(config["backbone"]["_target_"].rpartition(".")[2]))
    line = [
        "run",
        "-m",
        "dataset=simulated",
        "backbone=random_vectors,tiny_bert",
        "strategy=top",
        "--skip-impossible",
    ]
    assert main(line) == 3
    assert ran == ["tiny"]
    said = capsys.readouterr()
    assert (
        "1 of 2 cells are impossible and left out:\n  backbone=random_vectors: strategy=top "
        "has" in said.err
    )
    assert said.err.count("backbone=random_vectors: ") == 1
    assert "1 of 2 done, 1 impossible and left out, in " in said.out
    assert main([*line, "seed=3", "strategy.n=1"]) == 2  # what no cell knows is a mistake
    assert ran == ["tiny"]
    use(lambda config, name: (_ for _ in ()).throw(DataError("row 3 is bad")))  # type: ignore[arg-type]
    assert main(line) == 1


def test_a_single_run_has_nothing_to_leave_out(
    use: Callable[[Execute], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *TINY, "--skip-impossible"]) == 2
    assert "this is one run, not a sweep" in capsys.readouterr().err


def test_a_run_ends_with_its_number_and_what_comes_next(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """For a finished run too; without torch."""
    import polars as pl

    whole = pl.read_parquet(finished / "results.parquet").filter(
        window=-1, cohort="all", bucket="all", average="macro", metric="ndcg", k=10
    )
    best = whole.filter(pl.col("scorer") != "model")["value"].max()
    own = whole.filter(scorer="model").sort("value", descending=True)
    assert conclude([Outcome(finished)]) == 0
    first, done, then = capsys.readouterr().out.splitlines()
    assert first.startswith(f"nDCG@10 (macro, all): {own['value'][0]:.4f} ({own['schedule'][0]}), ")
    assert f"; best baseline {best:.4f} (" in first
    assert (done, then) == (f"1 of 1 done, in {finished}", f"next: coldlm report {finished}")
    assert (
        conclude(
            [Outcome(finished), Outcome(tmp_path / "lost", "DataError", "bad"), Outcome(finished)]
        )
        == 1
    )
    out = capsys.readouterr().out
    assert f"2 of 3 done, in {finished.parent}\nnext: coldlm report {finished.parent}\n" in out
    code = f"""
import sys
from pathlib import Path
from coldlm.report.headline import headlines
assert headlines([Path({str(finished)!r})])
sys.exit("torch" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


HEAVY = (
    "torch",
    "transformers",
    "pytorch_lightning",
    "torchmetrics",
    "numba",
    "sklearn",
    "scipy",
    "matplotlib",
)


@pytest.mark.parametrize("flags", [(), ("-m", "seed=1")])
def test_a_finished_run_that_is_asked_for_again_imports_nothing_heavy(
    flags: tuple[str, ...], tmp_path: Path
) -> None:
    few = "dataset.users=40", "dataset.items=60", "dataset.events=600"
    line = [*TINY, *few, "stages=[train]", f"output={tmp_path}", f"cache={tmp_path}/cache"]
    assert coldlm("run", *line, *flags).returncode == 0
    code = f"""
import sys
from coldlm.cli import main
assert main(["run", *sys.argv[1:]]) == 0
sys.exit(", ".join({{*{HEAVY!r}}} & sys.modules.keys()))
"""
    words = [sys.executable, "-c", code, *line, *flags]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "is finished already: nothing to do" in done.stdout
    assert done.stderr.strip() == ""


def test_where_a_list_is_asked_for_only_what_it_takes_is_imported(finished: Path) -> None:
    code = """
import sys
from pathlib import Path
from coldlm.commands.recommend import recommend
from coldlm.experiment.model import make_ranker
sys.exit(bool({"torchmetrics", "pytorch_lightning", "sklearn", "scipy"} & sys.modules.keys()))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_garbage_is_collected_in_a_run_and_behind_every_command(finished: Path) -> None:
    from coldlm.experiment.run import execute
    from coldlm.runs.resolved import read_config

    assert main(["--version"]) == 0
    assert main(["no such command"]) == 2
    assert gc.isenabled()
    gc.disable()
    try:
        execute(read_config(finished), finished.name)
        assert gc.isenabled()
    finally:
        gc.enable()


def test_distributed_cells_run_in_processes_of_their_own(
    use: Callable[[Execute], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines: list[list[str]] = []

    def start(line: list[str], check: bool) -> SimpleNamespace:
        lines.append(line)
        return SimpleNamespace(returncode=len(lines) - 1)

    monkeypatch.setattr("coldlm.commands.run.subprocess.run", start)
    assert main(["run", "-m", *TINY, "trainer=ddp", "seed=1,2"]) == 1
    assert "ended with status 1" in capsys.readouterr().err
    assert [line[:4] for line in lines] == [[sys.executable, "-m", "coldlm", "run"]] * 2
    ran = []
    use(lambda config, name: ran.append((name, config["seed"], config["trainer"]["devices"])))
    assert [main(line[3:]) for line in lines] == [0, 0]
    assert ran == [
        (f"dataset=simulated,backbone=tiny_bert,seed={seed},trainer=ddp", seed, 2)
        for seed in (1, 2)
    ]


def test_the_flag_of_a_sweep_may_stand_anywhere(use: Callable[[Execute], None]) -> None:
    seeds: list[int] = []
    use(lambda config, name: seeds.append(config["seed"]))
    assert (
        main(["run", *TINY, "-m", "seed=1,2"])
        == main(["run", *TINY, "seed=3,4", "--multirun"])
        == 0
    )
    assert seeds == [1, 2, 3, 4]


def test_a_flag_with_a_value_may_stand_between_overrides(
    use: Callable[[Execute], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 7\n")
    seeds: list[int] = []
    use(lambda config, name: seeds.append(config["seed"]))
    assert (
        main(["run", *TINY, "--config-dir", str(tmp_path), "experiment=mine", "-m", "online=off"])
        == 0
    )
    assert seeds == [7]
    assert main(["run", *TINY, "--cfg", "job", "seed=5"]) == 0
    assert "seed: 5" in capsys.readouterr().out
    assert main(["run", *TINY, "--cfg", "job", "-m", "seed=1,2"]) == 2
    assert "leave out one of the two" in capsys.readouterr().err


def test_the_command_line_is_in_place_while_a_run_goes_on(
    use: Callable[[Execute], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    use(lambda config, name: seen.append(sys.argv))
    line = ["coldlm", "run", *TINY]
    monkeypatch.setattr(sys, "argv", line)
    assert main() == 0
    assert seen == [line]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_have_their_exit_codes(
    use: Callable[[Execute], None], number: int, status: int
) -> None:
    use(lambda config, name: os.kill(os.getpid(), number))
    assert main(["run", "-m", *TINY, "seed=1,2"]) == status


def test_a_terminated_training_ends_with_143(use: Callable[[Execute], None]) -> None:
    class SIGTERMException(SystemExit):  # Lightning's name
        pass

    def execute(config: dict[str, Any], name: str) -> None:
        raise SIGTERMException

    use(execute)
    assert main(["run", *TINY]) == 143


def test_names_of_runs_are_safe_for_folders() -> None:
    assert (
        name_run(None, ["dataset=video/x", "text='{a} | b'", "seed=1"])
        == "dataset=video-x,seed=1,text=-a-b-38e6ebca"
    )
    assert name_run(None, []) == "default"
    long = [name_run(None, ["x" * MAX_NAME + end]) for end in ("a", "b")]
    assert long[0] != long[1]
    assert all(len(name) == MAX_NAME for name in long)
    assert [name_run(name, []) for name in long] == long
    with pytest.raises(ConfigError, match=r"name=\.\./up: a folder's own name, without slashes"):
        name_run("../up", [])


def test_what_tells_cells_apart_comes_first_in_their_names() -> None:
    rest = [f"dataset.key{i}=value" for i in range(20)]
    names = {
        name_run(None, [*rest, f"seed={s}", f"strategy={t}"], True)
        for s in (1, 2)
        for t in ("frozen", "lora")
    }
    assert {name.split(",dataset.key0")[0] for name in names} == {
        f"strategy={t},seed={s}" for s in (1, 2) for t in ("frozen", "lora")
    }


def test_what_cleaning_takes_from_a_name_is_kept_as_a_hash() -> None:
    texts = ["{title} | {topic}", "{title} ({topic})", "{title}, {topic}", "{title}/{topic}"]
    names = [name_run(None, [f'dataset.text="{text}"']) for text in texts]
    assert len(set(names)) == len(texts)
    assert all(re.fullmatch(r"dataset\.text=[\w,-]+-[0-9a-f]{8}", name) for name in names)
    assert name_run(None, ["dataset.text='{title}'"]) == name_run(None, ['dataset.text="{title}"'])
    assert name_run(None, ["dataset.items=a/b.csv"]) != name_run(None, ["dataset.items=a-b.csv"])


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["seed=2"], "seed=2"),
        (["strategy=lora", "seed=1"], "strategy=lora,seed=1"),
        (
            ["strategy.rank=4", "strategy=lora", "optim.lr=1e-3"],
            "strategy=lora,optim.lr=1e-3,strategy.rank=4",
        ),
        (
            ["+loss.draws=3", "~head.history", "dataset=news/mind"],
            "dataset=news-mind,+loss.draws=3,~head.history",
        ),
        (["train.max_steps=null", "dataset.name=我的"], "dataset.name=我的,train.max_steps=null"),
    ],
)
def test_names_of_simple_runs_are_what_they_were(overrides: list[str], name: str) -> None:
    assert name_run(None, overrides) == name


def test_the_swept_keys_of_a_long_name_are_always_shown() -> None:
    fixed = [
        "dataset=" + "x" * 50,
        "backbone=" + "y" * 50,
        *(f"dataset.key{i}=value" for i in range(20)),
    ]
    for name in (None, "mine", "m" * 120):
        made = name_run(
            name, [*fixed, "strategy=lora", "optim.lr=0.001"], True, {"strategy", "optim.lr"}
        )
        assert "strategy=lora" in made.split(",")
        assert "optim.lr=0.001" in made.split(",")
        assert len(made) <= MAX_NAME
    texts = [f"dataset.text='{'z' * 150}{end}'" for end in "ab"]
    names = [
        name_run(None, [*fixed, text, "seed=1"], True, {"dataset.text", "seed"}) for text in texts
    ]
    assert names[0] != names[1]
    assert all("dataset.text=zz" in name and "seed=1" in name for name in names)
    assert len(name_run(None, ["dataset.name=" + "我" * 200]).encode()) < 255


def test_who_watches_a_run_or_launches_it_leaves_its_name(use: Callable[[Execute], None]) -> None:
    names = []
    use(lambda config, name: names.append(name))
    plain, watched = [*TINY, "seed=3"], ["logger=tensorboard", "launcher=basic"]
    assert (
        main(["run", *plain])
        == main(["run", *plain, *watched])
        == main(["run", "-m", *plain, *watched])
        == 0
    )
    assert set(names) == {"dataset=simulated,backbone=tiny_bert,seed=3"}


def test_outcomes_are_those_of_cells_not_of_folders(
    use: Callable[[Execute], None], capsys: pytest.CaptureFixture[str]
) -> None:
    names: list[str] = []

    def execute(config: dict[str, Any], name: str) -> None:
        names.append(name)
        if len(names) == 2:
            raise DataError("row 3 is bad")

    use(execute)
    assert main(["run", "-m", *TINY, "seed=choice(1,1)"]) == 1
    assert len(set(names)) == 1
    assert capsys.readouterr().err.endswith(
        f"1 of 2 runs failed:\n  done    {names[0]}\n  FAILED  {names[0]}  DataError: row 3 is "
        "bad\n"
    )


@pytest.mark.parametrize(
    "script", sorted((REPO / "scripts").glob("*.py")), ids=lambda script: script.name
)
def test_scripts_are_thin_doors(script: Path) -> None:
    assert len(script.read_text().splitlines()) <= 30


@pytest.mark.slow
def test_the_wheel_works_from_another_folder(tmp_path: Path) -> None:
    wheels, site, elsewhere = (tmp_path / name for name in ("wheels", "site", "elsewhere"))
    elsewhere.mkdir()
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(REPO)]
    done = subprocess.run([sys.executable, *build], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = wheels.glob("*.whl")
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run([sys.executable, *install], check=True, capture_output=True)
    assert (site / "coldlm" / "conf" / "run.yaml").is_file()
    page = site / "coldlm" / "report"
    assert (page / "page.css").is_file()
    assert (page / "page.js").is_file()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = coldlm("run", "--cfg", "job", cwd=elsewhere, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "coldlm.models.strategy.frozen" in done.stdout
    where = "import coldlm.config.compose; print(coldlm.config.compose.CONF)"
    done = subprocess.run(
        [sys.executable, "-c", where],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(site / "coldlm" / "conf")
