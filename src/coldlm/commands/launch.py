"""A checked plan's run, or its cells on the launcher that they ask for.

Hydra's own entry point composes a run twice, first to see whether it is one. Hydra's own sweeper composes
the whole command line once with the groups' defaults, and so refuses a key that only the swept options
know. Here every cell is composed by itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from coldlm.commands import apart, cells
from coldlm.commands.launchers import Apart, Hydras, sbatch_script
from coldlm.commands.outcomes import ELSEWHERE, Outcome, tell_impossible
from coldlm.config.build import build
from coldlm.config.compose import Plan, plain
from coldlm.config.guard import UNREADABLE
from coldlm.config.overrides import one_line
from coldlm.config.search_path import with_plugins
from coldlm.config.tree import CONF, PRIMARY
from coldlm.core.errors import ConfigError, RunFolderError, first_line
from coldlm.runs.claim import is_claimed

SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
"""Hydra's default, whose place this module takes."""

PAUSE = 1.0
"""Seconds between two looks at cells that another process carries out."""

Task = Callable[[DictConfig], Outcome]


def run_alone(plan: Plan, task: Task) -> Outcome:
    """Return what became of the single run of a checked plan.

    Raises:
        ConfigError: it cannot be composed.
    """
    try:
        with _hydra(plan) as hydra:
            outcome: Outcome = hydra.run(PRIMARY, task, [*plan.hydra, *plan.given]).return_value
            return outcome
    except UNREADABLE as error:
        raise ConfigError(one_line(error)) from error


@contextmanager
def _hydra(plan: Plan) -> Iterator[Hydra]:
    """Hydra over coldlm's tree, and the folders that the plan names."""
    line = [*plan.hydra, *plan.given]
    with with_plugins(line), initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra


def launch(plan: Plan, task: Task) -> list[Outcome]:
    """Give all cells of a checked plan to the launcher that they name; what became of each.

    A cell that another process carries out is waited for, and carried out here if that one dies.

    Raises:
        ConfigError: another sweeper, or a cell that cannot be composed.
        RunFolderError: an output folder that cannot be made.
    """
    tell_impossible(plan.impossible, len(plan.cells) + len(plan.impossible))
    launcher = _begin(plan)
    outcomes: dict[int, Outcome] = {}
    left = sorted(range(len(plan.cells)), key=lambda i: cells.deaths(plan.folders[i]))
    while left:
        found = _carry_out(plan, left, launcher, task)
        outcomes |= zip(left, found, strict=True)
        left = [i for i in left if outcomes[i].kind == ELSEWHERE]
        _wait_for_any([plan.folders[i] for i in left])
    return [outcomes[i] for i in range(len(plan.cells))]


def show_cells(plan: Plan) -> None:
    """Print how the cells of a checked plan stand, and what would be sent to a cluster; run none.

    Raises:
        ConfigError: a cell that cannot be composed.
    """
    tell_impossible(plan.impossible, len(plan.cells) + len(plan.impossible))
    for folder in plan.folders:
        print(f"{cells.standing(folder).status:<9} {folder}")
    if not plan.is_sweep:
        return
    try:
        with _hydra(plan) as hydra:
            launcher = build(plain(_sweep_config(hydra, plan))["launcher"])
            if isinstance(launcher, Hydras) and launcher.name == "submitit_slurm":
                node = _sweep_config(hydra, plan, launcher).hydra.launcher
                settings = OmegaConf.to_container(node, resolve=True)
                print(sbatch_script(settings, len(plan.cells)))  # type: ignore[arg-type]
    except UNREADABLE as error:
        raise ConfigError(one_line(error)) from error


def _begin(plan: Plan) -> Apart | Hydras:
    """Write down what the sweep is; its launcher.

    Raises:
        ConfigError: another sweeper, or a cell that cannot be composed.
        RunFolderError: an output folder that cannot be made.
    """
    try:
        with _hydra(plan) as hydra:
            config = _sweep_config(hydra, plan)
            if config.hydra.sweeper._target_ != SWEEPER:
                raise ConfigError(
                    "hydra/sweeper: coldlm run makes its cells itself, from the values given; "
                    "leave it out (coldlm tune draws values)"
                )
            _save(config, plan)
            cells.write(plan)
            launcher: Apart | Hydras = build(plain(config)["launcher"])
            return launcher
    except UNREADABLE as error:
        raise ConfigError(one_line(error)) from error


def _carry_out(
    plan: Plan, which: Sequence[int], launcher: Apart | Hydras, task: Task
) -> list[Outcome]:
    """Carry out these cells, each at most once; what became of each."""
    if isinstance(launcher, Apart):
        return apart.carry_out(plan, which, launcher, task)
    try:
        return on_hydras(plan, which, launcher, task)
    except UNREADABLE as error:
        raise ConfigError(one_line(error)) from error
    except Exception as error:
        if launcher.name == "basic":
            raise
        print(
            f"launcher={launcher.name} gave up, with all that ran on it "
            f"({type(error).__name__}: {first_line(error)}); the same command goes on, and "
            "launcher=process loses no cell but the one that dies",
            file=sys.stderr,
        )
        return [_as_left(plan.folders[i]) for i in which]


def on_hydras(plan: Plan, which: Sequence[int], launcher: Hydras, task: Task) -> list[Outcome]:
    """Give these cells to a launcher of Hydra's, as many at a time as ``hydra.sweeper.max_batch_size``
    says.

    Raises:
        Exception: whatever the launcher raises.
    """
    with _hydra(plan) as hydra:
        config = _sweep_config(hydra, plan, launcher)
        callbacks = Callbacks(config)
        callbacks.on_multirun_start(config=config, config_name=PRIMARY)
        on = Plugins.instance().instantiate_launcher(
            HydraContext(config_loader=hydra.config_loader, callbacks=callbacks), task, config
        )
        size = config.hydra.sweeper.max_batch_size or len(which)
        outcomes: list[Outcome] = []
        for start in range(0, len(which), size):
            batch = [list(plan.cells[i]) for i in which[start : start + size]]
            outcomes += map(_outcome, on.launch(batch, initial_job_idx=start))
        callbacks.on_multirun_end(config=config, config_name=PRIMARY)
        return outcomes


def _sweep_config(hydra: Hydra, plan: Plan, launcher: Hydras | None = None) -> DictConfig:
    """The configuration of the sweep as a whole, with the launcher's settings in Hydra's node."""
    name = launcher.name if launcher else "basic"
    line = [*plan.hydra, f"hydra/launcher={name}", "hydra.mode=MULTIRUN", *plan.cells[0]]
    config = hydra.compose_config(PRIMARY, line, RunMode.MULTIRUN)
    settings: dict[str, Any] = dict(launcher.settings) if launcher else {}
    with open_dict(config):
        for key, value in settings.items():
            if value is not None:
                OmegaConf.update(config, f"hydra.launcher.{key}", value, force_add=True)
    return config


def _save(config: DictConfig, plan: Plan) -> None:
    """Hydra's ``multirun.yaml`` in the folder that holds the run folders."""
    folder = Path(config.hydra.sweep.dir)
    with open_dict(config):
        config.hydra.overrides.task = list(plan.given)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "multirun.yaml")
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be made ({error.strerror}): choose another output=..."
        ) from error


def _wait_for_any(folders: Sequence[Path]) -> None:
    """Wait until one of these runs is no longer carried out by another process."""
    if folders:
        print(f"waiting for {len(folders)} cells that another process carries out", file=sys.stderr)
    while folders and all(map(is_claimed, folders)):
        time.sleep(PAUSE)


def _outcome(job: JobReturn) -> Outcome:
    if job.status == JobStatus.COMPLETED:
        outcome: Outcome = job.return_value
        return outcome
    error = job._return_value  # its public name raises it
    print(f"{','.join(job.overrides or [])}: {error}", file=sys.stderr)
    return Outcome(Path(",".join(job.overrides or [])), type(error).__name__, str(error))


def _as_left(folder: Path) -> Outcome:
    """What became of a cell whose launcher gave up."""
    if cells.is_finished(folder):
        return Outcome(folder)
    return Outcome(folder, "Lost", "with the launcher", is_ours=True)
