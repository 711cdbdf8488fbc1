"""Who carries out the cells of a sweep, and what a cell that dies takes with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from omegaconf import DictConfig, OmegaConf

import mortal
from coldlm.commands import cells, launch, launchers
from coldlm.commands.launchers import Apart, Hydras
from coldlm.commands.outcomes import ELSEWHERE, Outcome
from coldlm.commands.run import Shared, _run_one
from coldlm.commands.sweep import main as sweep
from coldlm.config.compose import Plan, make_plan
from coldlm.runs.claim import claimed

MICRO = (
    "dataset=simulated", "dataset.users=40", "dataset.items=60", "dataset.events=600", "backbone=tiny_bert",
    "backbone.width=16", "train.epochs=1", "evaluate.latency_requests=2", "evaluate.lists=0", "online=off",
)  # fmt: skip

MakePlan = Callable[..., Plan]


@pytest.fixture
def plan(tmp_path: Path, cache: Path) -> MakePlan:
    """``plan("seed=1,2")``: of a micro sweep below ``tmp_path``."""

    def make(*overrides: str) -> Plan:
        line = ["-m", *MICRO, f"output={tmp_path / 'runs'}", f"cache={cache}", *overrides]
        made = make_plan(line)
        assert made.problems == []
        return made

    return make


def real(plan: Plan) -> launch.Task:
    return partial(_run_one, arguments=[], swept=plan.swept, shared=Shared())


def seeds_of(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    return [(o.folder.name.partition("seed=")[2].partition(",")[0], o.kind) for o in outcomes]


def values(folder: Path) -> pl.DataFrame:
    frame = pl.read_parquet(folder / "results.parquet")
    return frame.filter(~pl.col("metric").str.contains("second|latency|memory"))


def test_a_killed_cell_loses_itself_alone_and_goes_on_when_asked_again(
    plan: MakePlan, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = plan("seed=1,2", "launcher=process", "launcher.workers=2")
    first = launch.launch(made, partial(mortal.die_before_evaluate, seeds=(2,), task=real(made)))
    assert seeds_of(first) == [("1", ""), ("2", "Killed")]
    assert first[1].problem == "its process ended with SIGKILL: often the system was out of memory"
    said = capsys.readouterr().err
    assert (said.count("begins"), said.count("done")) == (2, 1)
    assert sweep(["status", str(tmp_path / "runs")]) == 1
    said = capsys.readouterr().out
    assert "1 finished, 1 failed of 2 cells" in said
    assert "its process ended with SIGKILL: often the system was out of memory (1 deaths)" in said
    assert "| " in said, "what it said last"
    assert "goes on: coldlm run -m dataset=simulated" in said
    assert seeds_of(launch.launch(made, real(made))) == [("1", ""), ("2", "")]
    assert sweep(["status", str(tmp_path / "runs")]) == 0
    # a cell says in a process of its own what it says in this one
    alone = plan("seed=2", f"output={tmp_path / 'alone'}")
    launch.launch(alone, real(alone))
    assert values(made.folders[1]).equals(values(alone.folders[0]))


@pytest.mark.long
def test_a_cell_that_died_twice_is_left_alone_until_it_is_retried(
    plan: MakePlan, tmp_path: Path
) -> None:
    made = plan("seed=1,2", "launcher=process", "launcher.workers=2")
    task = partial(mortal.die_before_evaluate, seeds=(2,), task=real(made))
    for _ in range(2):
        assert seeds_of(launch.launch(made, task)) == [("1", ""), ("2", "Killed")]
    third = launch.launch(made, real(made))[1]
    assert (third.kind, third.problem[-7:]) == ("RunFolderError", "--retry")
    assert sweep(["status", str(tmp_path / "runs"), "--retry"]) == 1
    assert seeds_of(launch.launch(made, real(made))) == [("1", ""), ("2", "")]


def test_a_cell_that_is_too_large_is_stopped_with_its_size(plan: MakePlan) -> None:
    made = plan("seed=1", "launcher=process", "launcher.memory_gb=0.05")
    (outcome,) = launch.launch(made, real(made))
    assert outcome.kind == "Killed"
    assert outcome.problem.endswith("GB of memory, launcher.memory_gb=0.05 allows")


def test_cores_are_divided_among_workers(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coldlm.commands import apart

    monkeypatch.setattr(apart, "_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = {}
    for workers in (2, 4):
        context = apart._context(8 // workers)
        found[workers] = os.environ.get("OMP_NUM_THREADS")
        assert context.get_start_method() == "forkserver"
    assert found == {2: None, 4: None}, "the sweep's own process keeps its own"
    made = plan("seed=1,2,3", "launcher=process", "launcher.workers=1")
    launch.launch(made, partial(mortal.say, file=tmp_path / "said"))
    rows = [line.split() for line in (tmp_path / "said").read_text().splitlines()]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert len({row[1] for row in rows} | {str(os.getpid())}) == 4


def test_a_cell_that_another_process_carries_out_is_waited_for(
    plan: MakePlan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "PAUSE", 0.01)
    made = plan("seed=1,2,3")
    asked = list[int]()
    elsewhere = claimed(made.folders[0])
    elsewhere.__enter__()

    def task(config: DictConfig) -> Outcome:
        asked.append(config.seed)
        folder = made.folders[config.seed - 1]
        if config.seed == 1 and len(asked) == 1:
            return Outcome(folder, ELSEWHERE, "another process has it")
        return Outcome(folder)

    def let_go(seconds: float) -> None:
        elsewhere.__exit__(None, None, None)

    monkeypatch.setattr(time, "sleep", let_go)
    assert seeds_of(launch.launch(made, task)) == [("1", ""), ("2", ""), ("3", "")]
    assert asked == [1, 2, 3, 1]
    assert "waiting for 1 cells that another process carries out" in capsys.readouterr().err


def test_a_cell_that_died_goes_last(plan: MakePlan) -> None:
    from coldlm.core.files import write_json
    from coldlm.runs.manifest import NAME, Manifest

    made, asked = plan("seed=1,2,3"), list[int]()
    made.folders[0].mkdir(parents=True)
    write_json(made.folders[0] / NAME, Manifest("x", "RUNNING", run="x").plain())

    def task(config: DictConfig) -> Outcome:
        asked.append(config.seed)
        return Outcome(made.folders[config.seed - 1])

    assert seeds_of(launch.launch(made, task)) == [("1", ""), ("2", ""), ("3", "")]
    assert asked == [2, 3, 1]


def test_a_launcher_that_gives_up_says_which_cells_are_done(
    plan: MakePlan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = plan("seed=1,2", "launcher=joblib", "launcher.workers=2")
    monkeypatch.setattr(cells, "is_finished", lambda folder: folder == made.folders[0])

    def lost(*_: object) -> list[Outcome]:
        raise RuntimeError("a worker was killed")

    monkeypatch.setattr(launch, "on_hydras", lost)
    done, failed = launch.launch(made, real(made))
    assert (done.kind, failed.kind) == ("", "Lost")
    said = capsys.readouterr().err
    assert "joblib gave up, with all that ran on it (RuntimeError: a worker was killed)" in said
    assert "launcher=process loses no cell but the one that dies" in said


@pytest.mark.parametrize(
    ("made", "name", "settings"),
    [
        (launchers.basic(), "basic", {}),
        (launchers.joblib(), "joblib", {"n_jobs": -1}),
        (launchers.joblib(workers=3), "joblib", {"n_jobs": 3}),
        (
            launchers.submitit_local(timeout_min=5, cpus_per_task=2, mem_gb=3),
            "submitit_local",
            {"timeout_min": 5, "cpus_per_task": 2, "mem_gb": 3},
        ),
        (
            launchers.submitit_slurm(
                partition="gpu", account="a", qos="q", constraint="c", timeout_min=9, cpus_per_task=4,
                gpus_per_node=1, mem_gb=16, array_parallelism=8, max_num_timeout=2,
            ),
            "submitit_slurm",
            {
                "partition": "gpu", "account": "a", "qos": "q", "constraint": "c", "timeout_min": 9, "cpus_per_task": 4,
                "gpus_per_node": 1, "mem_gb": 16, "array_parallelism": 8, "max_num_timeout": 2,
            },
        ),
    ],
)  # fmt: skip
def test_settings_reach_hydras_node(
    made: Hydras, name: str, settings: dict[str, object], plan: MakePlan
) -> None:
    a_plan = plan("seed=1,2")
    with launch._hydra(a_plan) as hydra:
        node = launch._sweep_config(hydra, a_plan, made).hydra.launcher
    found = OmegaConf.to_container(node, resolve=False)
    assert isinstance(found, dict)
    assert name.split("_")[0] in str(found["_target_"]).lower()
    assert {key: found[key] for key in settings} == settings


def test_settings_of_a_launcher_come_from_its_keys() -> None:
    assert launchers.process(workers=3, memory_gb=1.5) == Apart(3, 1.5)
    asked = launchers.ray(address="auto", cpus=2, gpus=0.5)
    assert dict(asked.settings) == {
        "ray.init.address": "auto",
        "ray.remote.num_cpus": 2,
        "ray.remote.num_gpus": 0.5,
    }


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (["launcher=process,basic"], "launcher: the launcher is the same for all cells of a sweep"),
        (
            ["launcher=process", "launcher.workers=1,2"],
            "launcher.workers: the launcher is the same",
        ),
        (
            ["launcher=process", "launcher.workers=0"],
            "launcher.workers: got 0, allowed: an integer",
        ),
        (["launcher=joblib", "launcher.memory_gb=2"], "launcher.memory_gb: unknown key"),
        (
            ["launcher=submitit_slurm", "launcher.partition='a; rm'"],
            "launcher.partition: got 'a; rm', allowed: letters",
        ),
    ],
)
def test_what_is_wrong_with_a_launcher_is_said_beforehand(line: list[str], problem: str) -> None:
    found = make_plan(["-m", "backbone=tiny_bert", "dataset=simulated", "seed=1,2", *line]).problems
    assert [each for each in found if each.startswith(problem)]


def test_a_single_run_has_no_launcher() -> None:
    line = ["backbone=tiny_bert", "dataset=simulated", "launcher=process"]
    (problem,) = make_plan(line).problems
    assert problem.startswith("launcher=process: it carries out the cells of a sweep; add -m")


def test_a_launcher_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coldlm.config.launchers.find_spec", lambda _: None)
    line = ["-m", "backbone=tiny_bert", "dataset=simulated", "seed=1,2", "launcher=joblib"]
    (problem,) = make_plan(line).problems
    assert 'pip install "coldlm[launchers]", or launcher=process' in problem


def test_a_plan_knows_the_folders_of_its_cells(plan: MakePlan) -> None:
    made = plan("seed=1,2", "name=mine")
    assert len(made.folders) == len(set(made.folders)) == 2
    assert all(
        f.name.startswith("mine,") and f"seed={i}" in f.name for i, f in enumerate(made.folders, 1)
    )
    shown = replace(made)
    assert shown.folders == made.folders


def test_a_dry_run_shows_cells_and_the_script_of_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from coldlm.cli import main

    # submitit configures logging as it is imported, and so closes what pytest captures with
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    monkeypatch.chdir(tmp_path)
    line = ["run", "-m", "backbone=tiny_bert", "dataset=simulated", "seed=1,2,3", "--dry-run"]
    slurm = ["launcher=submitit_slurm", "launcher.partition=gpu", "launcher.array_parallelism=2"]
    assert main([*line, *slurm, "launcher.gpus_per_node=1", "launcher.mem_gb=16"]) == 0
    said = capsys.readouterr().out
    assert said.count("MISSING   runs/") == 3
    for asked in ("array=0-2%2", "partition=gpu", "gpus-per-node=1", "mem=16GB", "job-name=coldlm"):
        assert f"#SBATCH --{asked}\n" in said
    assert main(line) == 0
    assert "#SBATCH" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [], "nothing is made"


DATA = Path(__file__).parents[1] / "data"


def start(fate: str, *line: str, folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(DATA), *sys.path[1:]])}
    command = [sys.executable, str(DATA / "mortal.py"), fate, *MICRO, *line]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=pipe, stderr=pipe
    )


LOSES = {
    "basic": (-9, ["FINISHED", "FAILED", "MISSING"], 0),
    "process": (1, ["FINISHED", "FAILED", "FINISHED"], 0),
    "joblib": (1, None, 0),  # the pool goes: which cells were done by then is a matter of seconds
    "submitit_local": (1, ["FINISHED", "FAILED", "FINISHED"], 0),
    "ray": (
        1,
        ["FINISHED", "FAILED", "FINISHED"],
        1,
    ),  # it tries again by itself, and a cell has two deaths
}
"""Launcher: exit status where the second of three cells is killed, how the cells stand then, and the exit status
of the same command again where nothing kills. The table of docs/guide/launchers.md."""


@pytest.mark.long
@pytest.mark.parametrize("launcher", LOSES)
def test_what_a_killed_cell_takes_with_it(launcher: str, tmp_path: Path) -> None:
    if launcher == "ray" and find_spec("ray") is None:
        pytest.skip("launcher=ray is not installed")
    line = ["seed=1,2,3", f"launcher={launcher}", "output=runs", "cache=cache"]
    status, left, again = LOSES[launcher]
    first = start("die_before_evaluate", *line, folder=tmp_path)
    said = first.communicate(timeout=300)[1]
    assert first.returncode == status, said
    ((_, names),) = cells.sweeps(tmp_path / "runs")
    standings = [cells.standing(tmp_path / "runs" / name) for name in sorted(names)]
    assert standings[1].status == "FAILED"
    assert standings[1].deaths == (2 if launcher == "ray" else 1)
    assert left is None or [s.status for s in standings] == left
    second = start("none", *line, folder=tmp_path)
    second.communicate(timeout=300)
    assert second.returncode == again


@pytest.mark.long
@pytest.mark.parametrize("launcher", LOSES)
def test_a_limit_of_memory_loses_one_cell(launcher: str, tmp_path: Path) -> None:
    if launcher == "ray" and find_spec("ray") is None:
        pytest.skip("launcher=ray is not installed")
    line = ["seed=1,2,3", f"launcher={launcher}", "output=runs", "cache=cache"]
    first = start("out_of_memory", *line, folder=tmp_path)
    said = first.communicate(timeout=300)[1]
    assert first.returncode == 1, said
    ((_, names),) = cells.sweeps(tmp_path / "runs")
    standings = [cells.standing(tmp_path / "runs" / name) for name in sorted(names)]
    assert [s.status for s in standings] == ["FINISHED", "FAILED", "FINISHED"]
    assert standings[1].reason.startswith("MemoryError")


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["basic", "process"])
def test_two_sweeps_over_one_folder_share_the_work(launcher: str, tmp_path: Path) -> None:
    line = ["seed=1,2,3,4", f"launcher={launcher}", "output=runs", "cache=cache"]
    both = [start("none", *line, folder=tmp_path) for _ in range(2)]
    said = [one.communicate(timeout=400) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    folders = [f for f in (tmp_path / "runs").iterdir() if (f / "manifest.json").is_file()]
    assert len(folders) == 4
    for folder in folders:
        assert (folder / "run.log").read_text().count("stage evaluate\n") == 1


@pytest.mark.long
def test_the_death_of_a_sweep_ends_its_cells(tmp_path: Path) -> None:
    line = ["seed=1,2", "launcher=process", "output=runs", "cache=cache", "dataset.users=200"]
    sweep_process = start(
        "none",
        *line,
        "dataset.items=300",
        "dataset.events=5000",
        "train.epochs=500",
        "train.patience=500",
        folder=tmp_path,
    )
    folder = tmp_path / "runs"

    def running() -> list[Path]:
        begun = [file.parent for file in folder.glob("*/manifest.json")]
        return [f for f in begun if cells.standing(f).status == "RUNNING"]

    assert holds_within(120, lambda: len(running()) == 2)
    begun = running()
    sweep_process.kill()
    sweep_process.communicate()
    assert holds_within(120, lambda: not running())
    assert [cells.standing(folder).status for folder in begun] == ["FAILED", "FAILED"]


def holds_within(seconds: float, is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.2)
    return is_so()
