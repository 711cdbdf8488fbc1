"""Which of the processes that share a run this one is, and how many there are: the only module that
looks.

Before the process group stands, whoever started the processes has said so in the environment. It is
read in the order in which Lightning looks for a cluster (torchrun, srun, processes of its own), so
that both always agree.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

from coldlm.core.errors import ConfigError

OTHER_STARTERS = {"OMPI_COMM_WORLD_SIZE": "mpirun", "JSM_NAMESPACE_SIZE": "jsrun"}
"""Variables with the number of processes of starters that are not supported, and their names."""


@dataclass(frozen=True)
class Place:
    """What the environment says. ``rank``: of this process; ``world``: number of processes, None
    where only a rank is told; ``starter``: who started them, "" for a process that was started
    alone and may start others; ``nodes``: number of machines."""

    rank: int = 0
    world: int | None = 1
    starter: str = ""
    nodes: int = 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(_distributed().get_rank()) if in_group() else _place().rank


def world() -> int:
    """Return the number of processes that there are. A process that Lightning has yet to give others is
    alone so far."""
    return int(_distributed().get_world_size()) if in_group() else (_place().world or rank() + 1)


def is_first() -> bool:
    """Return whether this process is the one that writes and speaks."""
    return rank() == 0


def in_group() -> bool:
    """Return whether the processes can talk to each other."""
    if "torch" not in sys.modules:  # whoever made a group has imported it
        return False
    distributed = _distributed()
    return bool(distributed.is_available() and distributed.is_initialized())


def first_says(value: float) -> float:
    """Return the first process's ``value`` in all of them: a clock, say, that each reads
    otherwise."""
    if not in_group():
        return value
    import torch

    said = torch.tensor([value], dtype=torch.float64)
    if _distributed().get_backend() == "nccl":
        said = said.cuda()
    _distributed().broadcast(said, 0)
    return float(said)


def refuse_another_world(devices: int) -> None:
    """Refuse processes that are not the ``devices`` that a run asks for: each would learn from a
    share that the others do not complete, or do the whole run by itself and write into the one
    folder.

    Raises:
        ConfigError: says who started how many processes, and how to start as many as asked for.
    """
    place, alone = _place(), "or without it: coldlm starts the processes of trainer.devices itself"
    for variable, starter in OTHER_STARTERS.items():
        if not place.starter and int(os.environ.get(variable, "1")) > 1:
            raise ConfigError(
                f"{starter} started {os.environ[variable]} processes, and only torchrun and srun "
                "are known; start "
                "coldlm run without it, and it starts the processes of trainer.devices itself"
            )
    if not place.starter:
        return
    if place.nodes > 1:
        raise ConfigError(
            f"{place.starter} started processes on {place.nodes} nodes, but a run on several nodes "
            "is not supported; start all of its processes on one node"
        )
    there = place.world or max(place.rank + 1, devices)
    if there != devices:
        many = "1 process" if there == 1 else f"{there} processes"
        raise ConfigError(
            f"trainer.devices={devices}, but {place.starter} started {many} for this run; set "
            f"trainer.devices={there} "
            f"(with trainer=ddp), start it by {_command(place.starter, devices)}, "
            f"{alone}{_way_out(place.starter)}"
        )
    if place.starter == "srun" and there > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise ConfigError(
            f"srun started {there} processes without saying how many a node has, which Lightning "
            f"refuses: start it by {_command('srun', devices)}"
        )


def _place() -> Place:
    said = os.environ
    if "TORCHELASTIC_RUN_ID" in said:
        nodes = int(said.get("GROUP_WORLD_SIZE", "1"))
        return Place(int(said["RANK"]), int(said["WORLD_SIZE"]), "torchrun", nodes)
    if "SLURM_NTASKS" in said and said.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        nodes = int(said.get("SLURM_NNODES", "1"))
        return Place(int(said.get("SLURM_PROCID", "0")), int(said["SLURM_NTASKS"]), "srun", nodes)
    if "LOCAL_RANK" in said:
        # Lightning's own launcher leaves LOCAL_RANK to its processes, and takes WORLD_SIZE back
        # after a training
        size, node = said.get("WORLD_SIZE"), int(said.get("NODE_RANK", said.get("GROUP_RANK", "0")))
        return Place(
            int(said["LOCAL_RANK"]),
            None if size is None else int(size),
            "a launcher (LOCAL_RANK)",
            node + 1,
        )
    return Place()


def _command(starter: str, devices: int) -> str:
    return {
        "srun": f"srun --nodes=1 --ntasks-per-node={devices}",
        "torchrun": f"torchrun --nproc-per-node={devices}",
    }.get(starter, f"a launcher of {devices}")


def _way_out(starter: str) -> str:
    """How to be alone inside a job of SLURM, whose variables are there with and without srun."""
    return " (inside a job: under SLURM_JOB_NAME=interactive)" if starter == "srun" else ""


def _distributed() -> Any:
    import torch

    return torch.distributed
