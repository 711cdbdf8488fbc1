"""Who this process is among how many, whoever started it, and worlds that are not what a run asks
for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pytorch_lightning.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from coldlm.config.schema import RunConfig
from coldlm.core import ranks
from coldlm.core.errors import ConfigError
from coldlm.experiment.run import execute

MakeConfig = Callable[..., RunConfig]

SRUN = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "coldlm",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "0",
    "SLURM_NNODES": "1",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "3",
    "LOCAL_RANK": "3",
    "WORLD_SIZE": "4",
    "GROUP_RANK": "0",
    "GROUP_WORLD_SIZE": "1",
}
CHILD = {
    "LOCAL_RANK": "1",
    "NODE_RANK": "0",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "1",
}
"""What Lightning gives the second process that it starts itself."""

Told = Callable[[dict[str, str]], None]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """``told(SRUN)``: these variables, and none of another starter."""

    def told(variables: dict[str, str]) -> None:
        for key in list(os.environ):
            if key.startswith(("SLURM_", "TORCHELASTIC_", "OMPI_")) or key in {**TORCHRUN, **CHILD}:
                monkeypatch.delenv(key)
        for key, value in variables.items():
            monkeypatch.setenv(key, value)

    return told


@pytest.mark.parametrize(
    ("variables", "rank", "world"),
    [
        ({}, 0, 1),
        (SRUN, 1, 2),
        (SRUN | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, 0, 2),
        (SRUN | {"SLURM_JOB_NAME": "interactive"}, 0, 1),
        (SRUN | {"SLURM_JOB_NAME": "bash"} | CHILD, 1, 2),
        (SRUN | TORCHRUN, 3, 4),
        (TORCHRUN, 3, 4),
        (CHILD, 1, 2),
        ({"WORLD_SIZE": "9"}, 0, 1),
    ],
)
def test_rank_and_world_are_read_where_they_stand(
    variables: dict[str, str], rank: int, world: int, told: Told
) -> None:
    told(variables)
    assert (ranks.rank(), ranks.world(), ranks.is_first()) == (rank, world, rank == 0)
    assert not ranks.in_group()


@pytest.mark.parametrize("variables", [SRUN, SRUN | TORCHRUN, TORCHRUN, CHILD])
def test_lightning_reads_the_same_rank(variables: dict[str, str], told: Told) -> None:
    told(variables)
    kinds = (TorchElasticEnvironment, SLURMEnvironment, LightningEnvironment)
    cluster = next(kind for kind in kinds if kind.detect())()
    assert cluster.local_rank() == ranks.rank()
    if not isinstance(cluster, LightningEnvironment):  # which is told the world by the trainer
        assert (cluster.global_rank(), cluster.world_size()) == (ranks.rank(), ranks.world())


def test_a_group_knows_better_than_the_environment(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Group:
        is_available = is_initialized = staticmethod(lambda: True)
        get_rank, get_world_size = staticmethod(lambda: 2), staticmethod(lambda: 5)

    told(SRUN)
    monkeypatch.setattr(ranks, "_distributed", Group)
    assert (ranks.in_group(), ranks.rank(), ranks.world()) == (True, 2, 5)


@pytest.mark.parametrize(
    ("variables", "devices"), [({}, 1), ({}, 2), (SRUN, 2), (TORCHRUN, 4), (CHILD, 2)]
)
def test_the_world_that_was_asked_for_is_let_in(
    variables: dict[str, str], devices: int, told: Told
) -> None:
    told(variables)
    ranks.refuse_another_world(devices)
    assert ranks.rank() < devices


def test_a_process_that_has_trained_with_others_goes_on(told: Told) -> None:
    # Lightning takes WORLD_SIZE back after each training
    told({"LOCAL_RANK": "0", "NODE_RANK": "0"})
    ranks.refuse_another_world(2)
    assert ranks.is_first()


@pytest.mark.parametrize(
    ("variables", "devices", "message"),
    [
        (
            SRUN,
            1,
            "trainer.devices=1, but srun started 2 processes for this run; set trainer.devices=2",
        ),
        (
            SRUN | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
            2,
            "trainer.devices=2, but srun started 1 process for",
        ),
        (TORCHRUN, 2, "start it by torchrun --nproc-per-node=2, or without it"),
        (CHILD, 1, r"a launcher \(LOCAL_RANK\) started 2 processes"),
        ({"LOCAL_RANK": "1"}, 1, r"a launcher \(LOCAL_RANK\) started 2 processes"),
        (
            SRUN | {"SLURM_NNODES": "2"},
            2,
            "on 2 nodes, but a run on several nodes is not supported",
        ),
        (
            TORCHRUN | {"GROUP_WORLD_SIZE": "2"},
            4,
            "on 2 nodes, but a run on several nodes is not supported",
        ),
        (
            {k: v for k, v in SRUN.items() if "PER_NODE" not in k},
            2,
            "start it by srun --nodes=1 --ntasks-per-node=2",
        ),
        (
            {"OMPI_COMM_WORLD_SIZE": "2"},
            1,
            "mpirun started 2 processes, and only torchrun and srun are known",
        ),
    ],
)
def test_another_world_is_refused(
    variables: dict[str, str], devices: int, message: str, told: Told
) -> None:
    told(variables)
    with pytest.raises(ConfigError, match=message):
        ranks.refuse_another_world(devices)


def test_a_run_is_refused_before_anything_is_read_or_written(
    config: MakeConfig, told: Told, tmp_path: Path
) -> None:
    settled = config()
    told(SRUN)
    with pytest.raises(ConfigError, match="srun started 2 processes"):
        execute(settled, "run")
    assert not (tmp_path / "runs").exists()
