"""What each logger leaves in the run folder."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from coldlm.config.combinations import logger_problems
from coldlm.learn import loggers

AXES = {"dataset": "toy", "split": "time", "strategy": "lora", "control": "none", "seed": "1"}
CONFIG = {"seed": 1, "optim": {"lr": 0.1}}


def _write(made: list[Any], value: float, *, failed: bool = False) -> None:
    for logger in made:
        logger.log_metrics({"train/loss": value}, step=3)
    loggers.close(made, failed=failed)


def _read(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_files_writes_metrics_csv_into_the_run_folder(tmp_path: Path) -> None:
    _write(loggers.files(tmp_path, "a run", CONFIG, AXES), 0.5)
    assert _read(tmp_path) == [{"train/loss": "0.5", "step": "3"}]


def test_a_resumed_run_keeps_its_earlier_metrics(tmp_path: Path) -> None:
    _write(loggers.files(tmp_path, "a run", CONFIG, AXES), 0.5)
    [again] = loggers.files(tmp_path, "a run", CONFIG, AXES)
    again.log_metrics({"test/all/ndcg@10": 0.25}, step=4)
    loggers.close([again], failed=False)
    assert _read(tmp_path) == [
        {"train/loss": "0.5", "step": "3", "test/all/ndcg@10": ""},
        {"train/loss": "", "step": "4", "test/all/ndcg@10": "0.25"},
    ]


def test_tensorboard_writes_events_beside_the_csv(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    _write(loggers.tensorboard(tmp_path, "a run", CONFIG, AXES), 0.5)
    assert len(list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))) == 1
    assert len(_read(tmp_path)) == 1


@pytest.fixture
def _no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.mark.usefixtures("_no_key")
def test_wandb_without_a_key_is_offline_and_says_what_the_run_is(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    made = loggers.wandb(tmp_path, "x" * 200, CONFIG, AXES, tags=["mine"])
    run = made[-1].experiment
    assert run.offline
    assert (run.group, run.job_type, run.project) == ("toy-time", "lora", "coldlm")
    assert run.name == "x" * 128
    assert set(run.tags) == {
        "mine",
        "dataset=toy",
        "split=time",
        "strategy=lora",
        "control=none",
        "seed=1",
    }
    assert dict(run.config) == CONFIG
    _write(made, 0.5)
    assert len(_read(tmp_path)) == 1
    [folder] = (tmp_path / "wandb").glob("offline-run-*")
    assert list(folder.glob("*.wandb"))
    # a second run in one process is another run
    control = loggers.wandb(
        tmp_path / "two",
        "b",
        CONFIG,
        {**AXES, "control": "permuted_text"},
        group="g",
        job_type=None,
    )
    second = control[-1].experiment
    assert second.id != run.id
    assert (second.group, second.job_type) == ("g", "permuted_text")
    _write(control, 0.25, failed=True)


@pytest.mark.usefixtures("_no_key")
def test_a_key_is_found_in_the_environment_or_in_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not loggers.has_wandb_key()
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text("machine elsewhere login a password b\n")
    netrc.chmod(0o600)
    assert not loggers.has_wandb_key()
    netrc.write_text("machine api.wandb.ai login user password not-a-key\n")
    assert loggers.has_wandb_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")  # a server of one's own
    assert not loggers.has_wandb_key()
    netrc.write_text("machine wandb.example.org login user password not-a-key\n")
    assert loggers.has_wandb_key()
    assert not list(logger_problems({"_target_": "coldlm.learn.loggers.wandb", "mode": "online"}))
    netrc.write_text("not a netrc file")
    assert not loggers.has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "not-a-key")
    assert loggers.has_wandb_key()
