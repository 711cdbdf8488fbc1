"""Tasks of a sweep that die or count, in a module of their own: processes of others import it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from coldlm.commands.outcomes import Outcome


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
