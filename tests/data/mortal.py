"""Tasks of a sweep that die or count, in a module of their own: processes of others import it."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from coldlm.commands.launch import launch
from coldlm.commands.outcomes import Outcome, conclude
from coldlm.commands.run import Shared, _run_one
from coldlm.config.build import refuse
from coldlm.config.compose import make_plan


def die_before_evaluate(
    config: DictConfig, seeds: tuple[int, ...], task: Callable[[DictConfig], Outcome]
) -> Outcome:
    """A run that is killed behind stage train, if its seed is one of these."""
    from coldlm.experiment import run

    def killed(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if config.seed in seeds:
        run.STAGES["evaluate"] = killed
    return task(config)


def say(config: DictConfig, file: Path) -> Outcome:
    """Nothing but a line with the cell's seed, its process and its threads."""
    with file.open("a") as stream:
        stream.write(f"{config.seed} {os.getpid()} {os.environ['OMP_NUM_THREADS']}\n")
    return Outcome(Path("runs") / str(config.seed))


def out_of_memory(
    config: DictConfig, seeds: tuple[int, ...], task: Callable[[DictConfig], Outcome]
) -> Outcome:
    """A run that meets a limit of memory behind stage train, if its seed is one of these."""
    from coldlm.experiment import run

    evaluate = run.STAGES["evaluate"]

    def hog(_: Any) -> None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (taken + 100_000_000, before[1]))
        try:
            bytearray(1_000_000_000)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    run.STAGES["evaluate"] = hog if config.seed in seeds else evaluate
    try:
        return task(config)
    finally:
        run.STAGES["evaluate"] = evaluate


def main(fate: str, *line: str) -> int:
    """A sweep whose cell of seed 2 meets a ``fate`` (a function of this module, or none)."""
    plan = make_plan(["-m", *line])
    refuse(plan.problems)
    task: Any = partial(_run_one, arguments=[], swept=plan.swept, shared=Shared())
    if fate != "none":
        task = partial(globals()[fate], seeds=(2,), task=task)
    return conclude(launch(plan, task))


if __name__ == "__main__":
    import mortal  # processes of others know this module by its name

    sys.exit(mortal.main(*sys.argv[1:]))
