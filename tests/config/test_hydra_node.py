"""Nothing of Hydra's own node imports or runs foreign code, whichever way it came into it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from coldlm.cli import main
from coldlm.config.compose import compose_plain, make_plan
from coldlm.config.guard import check_hydra
from coldlm.config.hydra_node import override_problem
from coldlm.core.errors import ConfigError

TINY = ("backbone=tiny_bert", "dataset=simulated")

CALLBACK = "hydra: {callbacks: {x: {_target_: evil.Touch}}}"
FACTORY = "hydra: {%s: {version: 1, handlers: {x: {(): evil.Touch}}, root: {handlers: [x]}}}"
FILES = {
    "callbacks": (CALLBACK, "hydra.callbacks.x._target_"),
    "job_logging": (FACTORY % "job_logging", "hydra.job_logging.handlers.x.()"),
    "hydra_logging": (FACTORY % "hydra_logging", "hydra.hydra_logging.handlers.x.()"),
    "launcher": (
        "hydra: {mode: MULTIRUN, launcher: {_target_: evil.Touch}}",
        "hydra.launcher._target_",
    ),
    "sweeper": (
        "hydra: {mode: MULTIRUN, sweeper: {_target_: evil.Touch}}",
        "hydra.sweeper._target_",
    ),
    "env": ("hydra: {job: {env_set: {PYTHONPATH: /evil}}}", "hydra.job.env_set.PYTHONPATH"),
    "cells": ("hydra: {overrides: {hydra: ['hydra.searchpath=[pkg://evil]']}}", "hydra.overrides"),
    "params": (
        "hydra: {mode: MULTIRUN, sweeper: {params: {hydra.searchpath: '[pkg://evil]'}}}",
        "hydra.sweeper.params: got hydra.searchpath",
    ),
    "by defaults": ("defaults: [override /hydra/callbacks: mine]", "hydra.callbacks.x._target_"),
}
LINES = {
    "searchpath": (["hydra.searchpath=[pkg://evil]"], "hydra.searchpath: got ['pkg://evil']"),
    "callbacks": (["+hydra.callbacks.x._target_=evil.Touch"], "hydra.callbacks.x._target_"),
    "whole node": (
        ["+hydra={callbacks:{x:{_target_:evil.Touch}}}"],
        "hydra: Hydra's node is not set as a whole",
    ),
    "config": (["--config-path", "pkg://evil"], "--config-path: is not taken"),
    "name": (["--config-name", "evil"], "--config-name: is not taken"),
    "rerun": (["--experimental-rerun", "evil.pickle"], "--experimental-rerun: is not taken"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of config files, and a module ``evil`` beside it that leaves a file ``marker`` when
    it is imported."""
    for part in ("experiment", "hydra/callbacks"):
        (tmp_path / part).mkdir(parents=True)
    for name, (text, _) in FILES.items():
        (tmp_path / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    (tmp_path / "experiment" / "good.yaml").write_text(
        "# @package _global_\nseed: 7\nhydra: {verbose: true}\n"
    )
    (tmp_path / "hydra" / "callbacks" / "mine.yaml").write_text("x: {_target_: evil.Touch}\n")
    (tmp_path / "evil").mkdir()
    marker = tmp_path / "marker"
    (tmp_path / "evil" / "__init__.py").write_text(
        f"open({str(marker)!r}, 'w').close()\nclass Touch: pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(
        sys.modules, "coldlm.experiment.run", SimpleNamespace(execute=lambda *_: None)
    )
    yield tmp_path
    assert not marker.exists()
    assert "evil" not in sys.modules


SHOWS = ([], ["-m"], ["--cfg", "job"], ["--help"], ["--info", "all"])


@pytest.mark.parametrize(
    "shows",
    [SHOWS[0], *(pytest.param(shows, marks=pytest.mark.long) for shows in SHOWS[2:4])],
    ids=["run", "--cfg", "--help"],
)
@pytest.mark.parametrize("name", FILES)
def test_a_file_cannot_set_what_hydra_would_run(
    name: str, shows: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "params" and shows:
        shows = []  # a sweep's values are never looked at where something is only shown
    assert main(["run", *TINY, *shows, "--config-dir", str(folder), f"experiment={name}"]) == 2
    assert FILES[name][1] in capsys.readouterr().err


@pytest.mark.parametrize("shows", SHOWS, ids=" ".join)
@pytest.mark.parametrize("name", LINES)
def test_nor_can_the_command_line(
    name: str, shows: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *shows, *TINY, *LINES[name][0]]) == 2
    assert LINES[name][1] in capsys.readouterr().err


@pytest.mark.parametrize("key", ["hydra.x", "hydra.job.x", "hydra/callbacks", "+hydra.x"])
def test_what_hydra_does_not_know_gets_no_advice_to_append_it(key: str) -> None:
    (problem,) = make_plan([*TINY, f"{key}=mine"]).problems
    assert problem.startswith(f"{key.lstrip('+')}: got 'mine'; leave it out: of Hydra's own only ")
    assert len(problem) < 300
    (problem,) = make_plan(["-m", *TINY, f"{key}=a,b"]).problems
    assert problem.startswith(f"{key.lstrip('+')}: got 'a,b'; leave it out")


def test_nor_can_one_of_many_cells(folder: Path) -> None:
    sweep = [
        "-m",
        "--config-dir",
        str(folder),
        *TINY,
        "experiment=good,callbacks",
        "strategy=frozen,top",
    ]
    assert any(
        problem.startswith("hydra.callbacks.x._target_: got 'evil.Touch'")
        for problem in make_plan(sweep).problems
    )


def test_nor_can_a_line_of_tune(folder: Path) -> None:
    for line in (["hydra.searchpath=[pkg://evil]"], ["+hydra.callbacks.x._target_=evil.Touch"]):
        with pytest.raises(ConfigError, match="hydra"):
            compose_plain([*TINY, *line])


def test_without_the_check_the_marker_would_be_there(folder: Path) -> None:
    """The files above are no empty threats."""
    code = "import hydra; hydra.main('conf', 'run', version_base='1.3')(lambda config: None)()"
    (folder / "conf").mkdir()
    (folder / "conf" / "run.yaml").write_text(CALLBACK)
    (folder / "app.py").write_text(code)
    subprocess.run(
        [sys.executable, "app.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
    )
    (folder / "marker").unlink()


@pytest.mark.parametrize(
    "line",
    [
        ["-m", "seed=1,2"],
        ["sweep=strategies"],
        ["hydra.verbose=true"],
        [
            "hydra.mode=MULTIRUN",
            "seed=1,2",
            "hydra.sweep.subdir=here",
            "hydra.sweeper.max_batch_size=3",
        ],
        [
            "hydra.run.dir=.",
            "hydra.job.chdir=false",
            "hydra.job.config.override_dirname.exclude_keys=[seed]",
        ],
    ],
    ids=" ".join,
)
def test_what_a_sweep_needs_may_be_set(line: list[str]) -> None:
    assert make_plan([*line, *TINY]).problems == []


def test_a_folder_of_harmless_files_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    execute: Callable[..., None] = lambda config, name, *_: seeds.append(config.seed)  # noqa: E731
    monkeypatch.setitem(sys.modules, "coldlm.experiment.run", SimpleNamespace(execute=execute))
    line = ["--config-dir", str(folder), "experiment=good", f"output={folder / 'runs'}"]
    assert main(["run", *TINY, *line]) == 0
    assert main(["run", "-m", *TINY, *line, "strategy=frozen,top"]) == 0
    assert seeds == [7, 7, 7]
    assert check_hydra(["--cfg", "job", "--config-dir", str(folder), "experiment=good"]) == []


@pytest.mark.parametrize(
    "line", ["hydra/sweeper=optuna", "hydra.sweeper._target_=hydra_plugins.optuna.OptunaSweeper"]
)
def test_hydras_own_optuna_is_refused_with_what_there_is_instead(line: str) -> None:
    path, _, value = line.partition("=")
    said = str(override_problem(path, value))
    assert "needs optuna < 3; say coldlm tune sampler=tpe space=FILE.yaml instead" in said
    assert "coldlm tune" not in str(override_problem(path, "another"))


@pytest.mark.parametrize(
    "line", [["hydra/launcher=joblib"], ["hydra.launcher.n_jobs=2"], ["+hydra.launcher.x=evil"]]
)
def test_hydras_own_launchers_are_chosen_by_the_group_launcher(line: list[str]) -> None:
    (problem,) = make_plan(["-m", *TINY, "seed=1,2", *line]).problems
    assert problem.startswith(line[0].lstrip("+").partition("=")[0])
    assert problem.endswith("; say launcher=NAME and launcher.KEY=VALUE instead")


def test_what_is_usual_is_what_a_whole_composition_holds() -> None:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from coldlm.config.guard import _usual
    from coldlm.config.hydra_node import FILLED_IN, _differences
    from coldlm.config.tree import CONF

    with initialize_config_dir(str(CONF), version_base="1.3"):
        _usual.cache_clear()
        usual = OmegaConf.to_container(_usual(), resolve=False)
        whole = compose("run", return_hydra_config=True).hydra
    found = _differences(OmegaConf.to_container(whole, resolve=False), usual, "hydra")
    different = [path for path, _ in found]
    assert different
    assert all(path.startswith(FILLED_IN) for path in different)
