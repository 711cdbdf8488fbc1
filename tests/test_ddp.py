"""Two processes give the numbers of one, leave one set of files, and end together."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from safetensors.torch import load_file

from coldlm.config.schema import RunConfig
from coldlm.experiment.run import execute

MakeConfig = Callable[..., RunConfig]

pytestmark = pytest.mark.slow

TRAINING = (
    "strategy=lora",
    "optim=sgd",
    "optim.lr=0.05",
    "optim.body_lr=0.05",
    "train.batch_size=64",
)
"""Plain gradient steps: Adam would blow up rounding errors where the loss is flat. LoRA applies no
dropout by default, and its trained backbone sends gradients from rank to rank."""


READERS = {
    "pair": ("head=pair", "loss=binary_cross_entropy", "loss.draws=2", "head.dropout=0.0"),
    "causal_lm": (
        "backbone=tiny_gpt2",
        "backbone.width=16",
        "backbone.max_tokens=64",
        "head=causal_lm",
        "loss=nll",
    ),
}
"""Heads that read user and item together: no vector of theirs travels between ranks, every rank
reads its own pairs."""


def run_by_two(output: Path, cache: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """A run of two processes, started as a user would."""
    line = [
        "dataset=simulated",
        "dataset.users=40",
        "dataset.items=60",
        "dataset.events=600",
        "train.epochs=1",
    ]
    line += ["evaluate.latency_requests=2", "trainer=ddp", "name=both", *TRAINING, *overrides]
    done = subprocess.run(
        [sys.executable, "-m", "coldlm", "run", *line, f"output={output}", f"cache={cache}"],
        capture_output=True,
        text=True,
        timeout=300,
        start_new_session=True,
        env={
            key: value
            for key, value in os.environ.items()
            if key not in ("LOCAL_RANK", "MASTER_PORT")
        },
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The run of two towers, whose texts are encoded again going back."""
    output = tmp_path_factory.mktemp("ddp")
    small = "backbone=tiny_bert", "backbone.width=16", "trainer.graph_tokens=256"
    done = run_by_two(output, cache, *small)
    return output / "both", done


def rows(folder: Path, *schedules: str) -> pl.DataFrame:
    events = pl.read_parquet(folder / "events.parquet").drop("run")
    return events.filter(pl.col("schedule").is_in(schedules))


def test_only_the_first_process_writes(both: tuple[Path, Any], finished: Path) -> None:
    folder, done = both
    alone = {file.name for file in finished.iterdir()}  # keeps no lists, by tests/conftest.py
    assert {file.name for file in folder.iterdir()} == alone | {"lists.parquet"}
    said = json.loads((folder / "manifest.json").read_text())
    assert (said["status"], said["done"]) == ("FINISHED", ["train", "evaluate", "online"])
    log = (folder / "run.log").read_text()
    assert log.count("stage evaluate") == log.count("FINISHED") == 1
    assert "MEMBER: 2/2" in done.stderr  # there were two
    assert "Warning" not in done.stderr


def test_no_process_is_left(both: tuple[Path, Any]) -> None:
    folder, _ = both
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"output={folder.parent}" not in lines


def test_training_ends_at_the_weights_of_one_process(
    both: tuple[Path, Any], config: MakeConfig
) -> None:
    folder, _ = both
    alone = execute(config("trainer.threads=1", *TRAINING), "alone")
    for name in ("model", "online"):
        left, right = (load_file(run / f"{name}.safetensors") for run in (alone, folder))
        assert any("lora_B" in key and tensor.abs().max() > 1e-5 for key, tensor in left.items())
        assert max(float((left[key] - right[key]).abs().max()) for key in left) < 1e-4
    updates = [
        pl.read_parquet(run / "updates.parquet").drop(
            "seconds", "train_seconds", "encode_seconds", "peak_memory_mb"
        )
        for run in (alone, folder)
    ]
    # what trains, not what rounding moved
    assert updates[0]["bytes"].to_list() == updates[1]["bytes"].to_list()
    assert_frame_equal(*updates, abs_tol=1e-3)
    schedules = ("history", "static", "per_window")
    columns = ["scorer", "schedule", "event_id", "n_item", "n_user", "candidates"]
    assert_frame_equal(
        rows(alone, *schedules).select(columns), rows(folder, *schedules).select(columns)
    )
    assert (
        float((rows(alone, *schedules)["score"] - rows(folder, *schedules)["score"]).abs().max())
        < 1e-3
    )  # type: ignore[arg-type]


def test_the_same_weights_are_judged_alike(both: tuple[Path, Any], config: MakeConfig) -> None:
    folder, _ = both
    # as many as each of the two: bits may differ
    settled = config("trainer.threads=1", *TRAINING, "stages=[train]")
    alone = execute(settled, "judge")
    # more than one chunk, so both had work
    assert len(rows(folder, "history").filter(scorer="model")) > 64
    shutil.copy(folder / "model.safetensors", alone / "model.safetensors")
    execute(replace(settled, stages=["evaluate"]), "judge")
    assert_frame_equal(
        rows(alone, "history", "static"), rows(folder, "history", "static"), check_exact=True
    )
    left, right = (
        pl.read_parquet(run / "results.parquet").drop("run", "config_hash")
        for run in (alone, folder)
    )
    assert_frame_equal(left, right.filter(stage="test"), check_exact=True)
    assert torch.distributed.is_initialized() is False


@pytest.mark.long
def test_processes_that_srun_started_share_the_batches_of_one(
    tmp_path: Path, cache: Path, config: MakeConfig
) -> None:
    brief = (*TRAINING, "train.max_steps=3", "train.validate=false", "stages=[train]")
    line = [
        "dataset=simulated",
        "dataset.users=40",
        "dataset.items=60",
        "dataset.events=600",
        "train.epochs=1",
    ]
    line += ["backbone=tiny_bert", "backbone.width=16", "trainer=ddp", "name=both", *brief]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    job = {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "coldlm",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NNODES": "1",
    }
    job |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODEID": "0", **meeting}
    own = {
        key: value for key, value in os.environ.items() if key not in ("LOCAL_RANK", "WORLD_SIZE")
    }
    command = [sys.executable, "-m", "coldlm", "run", *line, f"output={tmp_path}", f"cache={cache}"]
    tasks = [
        subprocess.Popen(
            command,
            env={**own, **job, "SLURM_PROCID": rank, "SLURM_LOCALID": rank},
            stderr=PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    said = [task.communicate(timeout=300)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    # the second is silent, and writes nothing
    assert ["stage train" in text for text in said] == [
        True,
        False,
    ]
    alone = execute(config("trainer.threads=1", *brief), "alone")
    left, right = (load_file(folder / "model.safetensors") for folder in (alone, tmp_path / "both"))
    assert any("lora_B" in key and tensor.abs().max() > 1e-5 for key, tensor in left.items())
    assert max(float((left[key] - right[key]).abs().max()) for key in left) < 1e-4


@pytest.mark.long
@pytest.mark.parametrize("head", READERS)
def test_heads_that_read_pairs_end_at_the_weights_of_one_process(
    head: str, tmp_path: Path, cache: Path, config: MakeConfig
) -> None:
    brief = (*READERS[head], "train.max_steps=4", "stages=[train]")
    backbone = () if head == "causal_lm" else ("backbone=tiny_bert", "backbone.width=16")
    run_by_two(tmp_path, cache, *backbone, *brief)
    alone = execute(config("trainer.threads=1", *TRAINING, *brief), "alone")
    left, right = (load_file(folder / "model.safetensors") for folder in (alone, tmp_path / "both"))
    assert any("lora_B" in key and tensor.abs().max() > 1e-5 for key, tensor in left.items())
    assert max(float((left[key] - right[key]).abs().max()) for key in left) < 1e-4
