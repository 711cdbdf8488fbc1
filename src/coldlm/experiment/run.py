"""One run: its folder, its stages in order, and how it ended."""

from __future__ import annotations

import gc
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from coldlm.config.build import resolve
from coldlm.config.kinds import Metric
from coldlm.config.options import plugged
from coldlm.config.schema import RunConfig
from coldlm.core import ranks
from coldlm.core.errors import Diverged, RunFolderError
from coldlm.experiment.facts import refuse_empty_parts, tell_data_facts
from coldlm.experiment.kept import Kept
from coldlm.experiment.left import what_is_left
from coldlm.experiment.stages import evaluate, k_shot, online, pretrain, train
from coldlm.experiment.state import Inputs, State
from coldlm.experiment.tracked import open_track, tell_end
from coldlm.experiment.world import World
from coldlm.learn.fit import Machine
from coldlm.runs.claim import claimed, count_death
from coldlm.runs.identity import recipe
from coldlm.runs.log import logging_to
from coldlm.runs.manifest import refuse_other_data
from coldlm.runs.process import process_facts, set_up_process
from coldlm.runs.record import Record
from coldlm.runs.resolved import write_config

log = logging.getLogger("coldlm")

STAGES: dict[str, Callable[[State], None]] = {
    "pretrain": pretrain.run,
    "train": train.run,
    "evaluate": evaluate.run,
    "online": online.run,
    "k_shot": k_shot.run,
}


def execute(
    config: RunConfig,
    name: str,
    kept: Kept | None = None,
    most_deaths: int | None = None,
    judge: Callable[[float], None] | None = None,
) -> Path:
    """Carry out the stages of a configuration in its run folder, which no other process may do
    meanwhile.

    A finished run is left alone, an unfinished one goes on behind its last finished stage.

    Args:
        kept: what earlier runs of the same sweep have made; this run adds to it.
        most_deaths: so many processes may have died over the stage at which it stands; None: any
            number.
        judge: is given the validation value after each epoch of stage train, which it ends by raising.

    Returns:
        The run folder.

    Raises:
        ConfigError: more or fewer processes were started for this run than it asks for.
        Claimed: another process carries this run out.
        RunFolderError: the folder holds a run of another configuration, or one over which too many
            processes have died; the manifest then says FAILED.
        ColdlmError: see the stages; the manifest then says FAILED or DIVERGED, and why.
    """
    if not gc.isenabled():  # the command line starts without; what it has imported stays
        gc.freeze()
        gc.enable()
    folder, is_main = Path(config.output) / name, ranks.is_first()
    with claimed(folder) if is_main else nullcontext():
        left = what_is_left(config, folder)
        if left is None:
            return folder
        manifest, stages = left
        count_death(manifest)
        formulas = {option.name: resolve(option.target) for option in plugged(Metric)}
        with logging_to(folder if is_main else None):
            record = Record(folder, config, name, manifest, is_main=is_main, formulas=formulas)
            if most_deaths is not None:
                _refuse_deadly(record, most_deaths)
            _carry_out(stages, config, record, kept or Kept(), judge)
    return folder


def _refuse_deadly(record: Record, most: int) -> None:
    """Leave a run alone over which ``most`` processes have died: the next would, too."""
    if (deaths := record.manifest.deaths or 0) >= most:
        reason = (
            f"{deaths} processes died over it (killed, or out of memory); for another try: "
            f"coldlm sweep status {record.folder.parent} --retry"
        )
        record.end("FAILED", reason)
        raise RunFolderError(f"{record.folder}: {reason}")


def _carry_out(
    stages: Sequence[str],
    config: RunConfig,
    record: Record,
    kept: Kept,
    judge: Callable[[float], None] | None,
) -> None:
    """Do the stages in order; whatever happens, the manifest says how it ended and the loggers are
    closed."""
    machine = Machine(
        config.trainer.accelerator,
        config.trainer.precision,
        config.trainer.devices,
        record.folder if config.debug.profile else None,
    )
    set_up_process(config.trainer, machine.accelerator)
    _begin(config, record)
    failed = True
    try:
        record.track = open_track(config, record)
        world = _prepare(config, record, kept)
        state = State(Inputs(config, world, record, machine, kept, judge))
        for stage in stages:
            log.info("stage %s", stage)
            STAGES[stage](state)
            record.manifest.done.append(stage)
            record.manifest.deaths = None
            record.manifest.epochs = record.track.epochs
            record.save()
        record.end("FINISHED")
        tell_end(config, record)
        failed = False
    except Diverged as error:
        record.end("DIVERGED", str(error))
        raise
    except (KeyboardInterrupt, SystemExit):
        record.end("FAILED", "interrupted; the same command goes on behind the last finished stage")
        raise
    except Exception as error:
        record.end("FAILED", f"{type(error).__name__}: {error}")
        log.debug(traceback.format_exc())
        raise
    finally:
        for command in record.track.close(failed=failed):
            log.info("kept offline; this sends it: %s", command)


def _begin(config: RunConfig, record: Record) -> None:
    """Say whose folder this is, and on what the run goes."""
    manifest = record.manifest
    manifest.status, manifest.reason, manifest.run = "RUNNING", None, record.name
    manifest.axes, manifest.recipe, manifest.tags = record.axes, recipe(config), config.tags
    if config.published.values:
        manifest.published = asdict(config.published)
        for line in config.published.values:
            log.info("published: %s (%s)", line, config.published.source)
    for fact, value in process_facts().items():
        setattr(manifest, fact, value)
    if record.is_main:
        write_config(record.folder, config)
    record.save()


def _prepare(config: RunConfig, record: Record, kept: Kept) -> World:
    """Read, cut, and print what a reader must know before any number."""
    begin = time.perf_counter()
    world = kept.world(config)
    refuse_other_data(record.manifest, world.data.hashes, record.folder)
    refuse_empty_parts(world, record.has_lists)
    tell_data_facts(world, record.has_lists, record.manifest)
    record.manifest.drawn_queries = config.evaluate.queries
    record.manifest.seconds["prepare"] = time.perf_counter() - begin
    return world
