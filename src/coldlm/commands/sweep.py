"""A checked plan's run, or its cells on Hydra's launcher.

Hydra's own entry point composes a run twice, first to see whether it is one. Hydra's own sweeper composes
the whole command line once with the groups' defaults, and so refuses a key that only the swept options
know. Here every cell is composed by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from coldlm.commands.outcomes import Outcome, tell_impossible
from coldlm.config.compose import Plan
from coldlm.config.guard import UNREADABLE
from coldlm.config.overrides import one_line
from coldlm.config.search_path import with_plugins
from coldlm.config.tree import CONF, PRIMARY
from coldlm.core.errors import ConfigError, RunFolderError

SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
"""Hydra's default, whose place this module takes."""


def run_alone(plan: Plan, task: Callable[[DictConfig], Outcome]) -> Outcome:
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


def launch(plan: Plan, task: Callable[[DictConfig], Outcome]) -> list[Outcome]:
    """Give all cells of a checked plan to the launcher that ``hydra/launcher`` names, as many at a
    time as ``hydra.sweeper.max_batch_size`` says; what became of each.

    Raises:
        ConfigError: another sweeper, or a cell that cannot be composed.
        RunFolderError: an output folder that cannot be made.
    """
    tell_impossible(plan.impossible, len(plan.cells) + len(plan.impossible))
    hydra_overrides = [*plan.hydra, "hydra.mode=MULTIRUN"]
    try:
        with _hydra(plan) as hydra:
            config = hydra.compose_config(
                PRIMARY, [*hydra_overrides, *plan.cells[0]], RunMode.MULTIRUN
            )
            if config.hydra.sweeper._target_ != SWEEPER:
                raise ConfigError(
                    "hydra/sweeper: coldlm run makes its cells itself, from the values given; "
                    "leave it out (coldlm tune draws values)"
                )
            _save(config, plan)
            callbacks = Callbacks(config)
            callbacks.on_multirun_start(config=config, config_name=PRIMARY)
            launcher = Plugins.instance().instantiate_launcher(
                HydraContext(config_loader=hydra.config_loader, callbacks=callbacks), task, config
            )
            size = config.hydra.sweeper.max_batch_size or len(plan.cells)
            outcomes: list[Outcome] = []
            for start in range(0, len(plan.cells), size):
                cells = [list(cell) for cell in plan.cells[start : start + size]]
                outcomes += map(_outcome, launcher.launch(cells, initial_job_idx=start))
            callbacks.on_multirun_end(config=config, config_name=PRIMARY)
            return outcomes
    except UNREADABLE as error:
        raise ConfigError(one_line(error)) from error


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


def _outcome(job: JobReturn) -> Outcome:
    if job.status == JobStatus.COMPLETED:
        outcome: Outcome = job.return_value
        return outcome
    error = job._return_value  # its public name raises it
    print(f"{','.join(job.overrides or [])}: {error}", file=sys.stderr)
    return Outcome(Path(",".join(job.overrides or [])), type(error).__name__, str(error))
