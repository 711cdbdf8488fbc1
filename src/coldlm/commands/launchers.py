"""Launchers: functions (settings) -> what carries out the cells of a sweep.

Those of Hydra's are installed beside it, and told their settings in its own node, where nothing of
the user's may stand; ``process`` is our own, see ``apart.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from coldlm.core.columns import Above0, Count, Range


@dataclass(frozen=True)
class Hydras:
    """A launcher of Hydra's. ``name``: of ``hydra/launcher``; ``settings``: of ``hydra.launcher``, those
    that are None are left to Hydra."""

    name: str
    settings: Mapping[str, object]


@dataclass(frozen=True)
class Apart:
    """A process of its own for each cell. ``workers``: at a time, None for as many as there are cores.
    ``memory_gb``: of resident memory, with which a cell is stopped; None: any."""

    workers: int | None
    memory_gb: float | None


def basic() -> Hydras:
    """In this process, one after the other; what cells have in common is made once."""
    return Hydras("basic", {})


def process(*, workers: Count | None = None, memory_gb: Above0 | None = None) -> Apart:
    """Each cell in a process of its own on this machine, so that what kills a cell kills that one alone;
    the cores are divided among the ``workers``."""
    return Apart(workers, memory_gb)


def joblib(*, workers: Count | None = None) -> Hydras:
    """On a pool of joblib's processes on this machine, by default one per core."""
    return Hydras("joblib", {"n_jobs": workers or -1})


def submitit_local(
    *,
    timeout_min: Count = 60,
    cpus_per_task: Count | None = None,
    mem_gb: Count | None = None,
) -> Hydras:
    """As ``submitit_slurm``, without a cluster: all cells at once on this machine, to try it out."""
    settings = {"timeout_min": timeout_min, "cpus_per_task": cpus_per_task, "mem_gb": mem_gb}
    return Hydras("submitit_local", settings)


def submitit_slurm(
    *,
    partition: str | None = None,
    account: str | None = None,
    qos: str | None = None,
    constraint: str | None = None,
    timeout_min: Count = 60,
    cpus_per_task: Count | None = None,
    gpus_per_node: Annotated[int, Range(0)] | None = None,
    mem_gb: Count | None = None,
    array_parallelism: Count = 256,
    max_num_timeout: Annotated[int, Range(0)] = 0,
) -> Hydras:
    """As an array of jobs of SLURM's, one cell each; see the manual of sbatch. ``array_parallelism``:
    jobs at a time. ``max_num_timeout``: how often a job that ran out of time is queued again."""
    return Hydras(
        "submitit_slurm",
        {
            "name": "coldlm",
            "partition": partition,
            "account": account,
            "qos": qos,
            "constraint": constraint,
            "timeout_min": timeout_min,
            "cpus_per_task": cpus_per_task,
            "gpus_per_node": gpus_per_node,
            "mem_gb": mem_gb,
            "array_parallelism": array_parallelism,
            "max_num_timeout": max_num_timeout,
        },
    )


def ray(
    *,
    address: str | None = None,
    cpus: Above0 | None = None,
    gpus: Annotated[float, Range(0)] | None = None,
) -> Hydras:
    """On a cluster of Ray's, by default one on this machine. ``address``: of the cluster. ``cpus``,
    ``gpus``: that a cell takes."""
    return Hydras(
        "ray",
        {
            "ray.init.address": address,
            "ray.remote.num_cpus": cpus,
            "ray.remote.num_gpus": gpus,
        },
    )


def sbatch_script(settings: Mapping[str, Any], n_cells: int) -> str:
    """Return the script that ``submitit_slurm`` hands to sbatch.

    Args:
        settings: of ``hydra.launcher``, complete.
        n_cells: tasks of the array.
    """
    from submitit.slurm.slurm import SlurmExecutor

    class Shown(SlurmExecutor):
        """An executor where there is no cluster."""

        @classmethod
        def affinity(cls) -> int:
            return 1

    own = {"_target_", "submitit_folder", "max_num_timeout"}
    asked = {k: v for k, v in settings.items() if k not in own and v is not None}
    executor = Shown(settings["submitit_folder"], max_num_timeout=settings["max_num_timeout"])
    executor.update_parameters(**executor._convert_parameters(asked))
    executor.parameters["map_count"] = n_cells  # as its map_array sets it
    return str(executor._make_submission_file_text(executor._submitit_command_str, "dry-run"))
