"""``coldlm sweep``: how the cells of a sweep stand, what they say of their failures, and another try."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from coldlm.commands import cells
from coldlm.commands.cells import DIVERGED, FAILED, FINISHED, MISSING, RUNNING, Standing
from coldlm.runs.claim import MOST_DEATHS, forget_deaths

ORDER = (FINISHED, RUNNING, FAILED, DIVERGED, MISSING)

WANDB = "--wandb"
"""Our own flag: what follows is a sweep of coldlm run, which is printed as wandb wants it."""

UNFINISHED = 4
"""Exit status of ``coldlm sweep status`` where cells are missing or running, and none has failed."""

LAST_LINES = 5
"""Of what a failed cell said, that are shown."""


def main(argv: Sequence[str]) -> int:
    """Tell how the cells of a folder stand; the exit status says it, too."""
    if argv[:1] == [WANDB]:
        from coldlm.config.wandb_sweep import wandb_sweep

        print(wandb_sweep(argv[1:]), end="")
        return 0
    arguments = parse(argv)
    folder = Path(arguments.folder)
    asked = list(cells.sweeps(folder))
    names = sorted({name for _, found in asked for name in found})
    if arguments.retry:
        _retry([folder / name for name in names])
    standings = [cells.standing(folder / name) for name in names]
    for standing in standings:
        _tell(standing, len(max(names, key=len)))
    counts = {status: sum(s.status == status for s in standings) for status in ORDER}
    said = ", ".join(f"{n} {status.lower()}" for status, n in counts.items() if n)
    print(f"{said} of {len(standings)} cells in {folder}")
    if counts[FINISHED] < len(standings):
        for given, _ in asked:
            print(f"goes on: coldlm run -m {shlex.join(given)}")
        given_up = sum(s.status == FAILED and s.deaths >= MOST_DEATHS for s in standings)
        if given_up:
            print(
                f"{given_up} cells are left alone, as {MOST_DEATHS} processes died over each: "
                f"coldlm sweep status {shlex.quote(str(folder))} --retry lets them be tried again"
            )
    if counts[FAILED] or counts[DIVERGED]:
        return 1
    return 0 if counts[FINISHED] == len(standings) else UNFINISHED


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="coldlm sweep",
        usage="coldlm sweep [-h] {status,--wandb} ...",
        description="How the cells of a sweep stand, and another try of those that died; or a sweep as wandb wants it.",
        epilog="coldlm sweep --wandb -m strategy=lora,top seed=1,2 prints the sweep as YAML for wandb sweep; agents "
        "call coldlm run.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    status = verbs.add_parser(
        "status",
        help="how the cells of the sweeps over a folder stand",
        description="How the cells of the sweeps over a folder stand: FINISHED, RUNNING (its process lives), FAILED "
        "(with the reason and what it said last), DIVERGED, MISSING.",
        epilog="exit status: 0 all cells are finished, 1 some failed or diverged, 2 the folder holds no sweep, "
        f"{UNFINISHED} some are missing or running and none failed",
    )
    status.add_argument(
        "folder", help="the folder that holds the run folders: output=... of the sweep"
    )
    status.add_argument(
        "--retry",
        action="store_true",
        help="forget the deaths of the cells' processes: a sweep leaves a cell alone after "
        f"{MOST_DEATHS} of them",
    )
    return parser.parse_args(argv)


def _retry(folders: Sequence[Path]) -> None:
    for folder in folders:
        if cells.deaths(folder):
            forget_deaths(folder)


def _tell(standing: Standing, width: int) -> None:
    """Print a line of a cell, and what it said last where it failed."""
    stages = ", ".join(standing.done) or "-"
    seconds = f"{standing.seconds:7.0f} s" if standing.done else " " * 9
    print(f"{standing.status:<9} {standing.folder.name:<{width}} {seconds}  {stages}")
    if standing.status in (FAILED, DIVERGED):
        died = f" ({standing.deaths} deaths)" if standing.deaths else ""
        print(f"          {standing.reason}{died}")
        for line in cells.last_lines(standing.folder, LAST_LINES):
            print(f"          | {line}")
