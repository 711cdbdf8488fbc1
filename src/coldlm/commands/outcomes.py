"""What became of the runs of one command, and the exit status that tells."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coldlm.core.errors import ColdlmError

SKIPPED = 3
"""Exit status of a sweep whose possible cells are all done, and which had others."""


ELSEWHERE = "Claimed"
"""Kind of the outcome of a run that another process carries out."""


@dataclass(frozen=True)
class Outcome:
    """Of one run. ``kind``, ``problem``: of the exception it ended with, empty if it is done;
    words, because a launcher may bring them from another process. ``is_ours``: the user can mend
    it."""

    folder: Path
    kind: str = ""
    problem: str = ""
    is_ours: bool = False


def conclude(outcomes: Sequence[Outcome], n_impossible: int = 0) -> int:
    """Return the exit status; of a sweep with failures, also a line per run.

    Args:
        n_impossible: cells that were left out, see ``tell_impossible``.

    Raises:
        ColdlmError: the problem of a single run that the user can mend.
    """
    failed = [outcome for outcome in outcomes if outcome.kind]
    if len(outcomes) == 1 and failed and not n_impossible:
        if failed[0].is_ours:
            raise ColdlmError(failed[0].problem)
        return 1
    if failed:
        print(f"{len(failed)} of {len(outcomes)} runs failed:", file=sys.stderr)
        for outcome in outcomes:
            reason = (
                f"  {outcome.kind}: {outcome.problem.partition(chr(10))[0]}" if outcome.kind else ""
            )
            print(
                f"  {'FAILED' if outcome.kind else 'done':<8}{outcome.folder.name}{reason}",
                file=sys.stderr,
            )
    if os.environ.get("LOCAL_RANK", "0") == "0":
        _summarise(outcomes, n_impossible)
    return 1 if failed else SKIPPED if n_impossible else 0


def _summarise(outcomes: Sequence[Outcome], n_impossible: int) -> None:
    """The headline, how many are done, where they lie and what comes next, on stdout."""
    from coldlm.report.headline import headlines

    done = [outcome.folder for outcome in outcomes if not outcome.kind]
    if not done:
        return
    n_cells = len(outcomes) + n_impossible
    where = done[0] if n_cells == 1 else done[0].parent
    found = headlines(done)
    print("\n".join(found or ["nothing was scored yet: that takes the stage evaluate or online"]))
    left_out = f", {n_impossible} impossible and left out" if n_impossible else ""
    print(f"{len(done)} of {n_cells} done{left_out}, in {where}")
    if found:
        print(f"next: coldlm report {shlex.quote(str(where))}")


def tell_impossible(impossible: Sequence[tuple[str, list[str]]], n_cells: int) -> None:
    """Print the cells that are left out, each with its reasons, on stderr; nothing if there are
    none."""
    if impossible:
        print(
            f"{len(impossible)} of {n_cells} cells are impossible and left out:",
            file=sys.stderr,
        )
    for name, problems in impossible:
        print(f"  {name}: {'; '.join(problems)}", file=sys.stderr)
