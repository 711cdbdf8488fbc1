"""A sweep of coldlm's is a sweep of Weights & Biases whose agents type valid commands."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from coldlm.config.compose import make_plan
from coldlm.config.wandb_sweep import wandb_sweep
from coldlm.core.errors import ConfigError

TINY = ("dataset=simulated", "backbone=tiny_bert")


def commands(text: str) -> list[list[str]]:
    """What the agents would run, as wandb makes it of the YAML."""
    sweep = yaml.safe_load(text)
    assert sweep["method"] == "grid"
    names = list(sweep["parameters"])
    found = []
    for values in itertools.product(*(sweep["parameters"][name]["values"] for name in names)):
        given = [f"{name}={value}" for name, value in zip(names, values, strict=True)]
        before = sweep["command"][:-1]
        assert sweep["command"][-1] == "${args_no_hyphens}"
        found.append([*before, *given])
    return found


def test_each_agent_runs_one_cell_of_the_grid() -> None:
    line = ["-m", *TINY, "seed=1,2", "train.max_steps=null,100", "optim.lr=1e-3"]
    found, asked = commands(wandb_sweep(line)), make_plan(line).cells
    assert len(found) == len(asked) == 4
    for command in found:
        assert command[:2] == ["coldlm", "run"]
        assert {*TINY, "logger=wandb", "hydra.mode=RUN"} <= set(command)
    plan = make_plan(found[0][2:])
    assert (plan.problems, plan.is_sweep) == ([], False)
    cells = {frozenset(cell) for cell in asked}
    assert {frozenset(c[2:]) - {"logger=wandb", "hydra.mode=RUN"} for c in found} == cells


def test_a_sweep_of_a_file_is_not_run_whole_by_each_agent(tmp_path: Path) -> None:
    flags = ["--config-dir", str(tmp_path)]
    found = commands(wandb_sweep([*TINY, "sweep=controls", "logger=[wandb,mlflow]", *flags]))
    assert len(found) > 1
    assert found[0][2:4] == flags
    plan = make_plan(found[0][2:])
    assert (plan.problems, plan.is_sweep) == ([], False)
    assert "logger=[wandb,mlflow]" in found[0]
    assert "logger=wandb" not in found[0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ([*TINY, "seed=1"], "not a sweep"),
        (["-m", *TINY, "seed=1,2", "train.epoch=2"], "train.epoch: unknown key"),
    ],
)
def test_what_is_no_sweep_is_refused(line: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        wandb_sweep(line)
