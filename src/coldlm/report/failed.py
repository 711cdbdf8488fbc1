"""Runs that ended without results: how, and which comparison misses them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from coldlm.core.columns import DEBUG_KEY
from coldlm.report.asked import AXES
from coldlm.report.found import AnyRun, FailedRun, FinishedRun
from coldlm.report.titles import ASKS
from coldlm.runs.manifest import NAME, Manifest

ENDED: Final = ("FAILED", "DIVERGED")
ALL: Final = ("dataset", "split", "candidates")
"""Axes on which runs that answer the same question agree."""

SILENT: Final = 3600
"""Seconds without a word in its folder after which a run that says RUNNING was killed."""


def how_it_ended(folder: Path, manifest: Manifest) -> tuple[str, str]:
    """Return the status of a run that is not finished, and why; a run that was killed could not say
    so."""
    if manifest.status != "RUNNING":
        reason = (manifest.reason or "no reason given").strip().partition("\n")[0]
        return manifest.status, reason
    silent = time.time() - max(file.stat().st_mtime for file in folder.iterdir())
    if silent < SILENT:
        return "RUNNING", "it is not finished yet, or was killed within the hour"
    hours = silent / 3600
    done = f"after stage {manifest.done[-1]}" if manifest.done else "before any stage was done"
    return "FAILED", f"killed {done}: it says RUNNING and has written nothing for {hours:,.0f} h"


def failed_run(folder: Path) -> list[FailedRun]:
    """Return the run in ``folder`` where it failed or diverged and says what it would have been; else
    nothing."""
    try:
        manifest = Manifest.of(json.loads((folder / NAME).read_text(encoding="utf-8")))
    except (OSError, AttributeError, LookupError, TypeError, ValueError):
        return []
    if manifest.status == "FINISHED" or not {"strategy", "control", "seed"} <= set(manifest.axes):
        return []
    status, why = how_it_ended(folder, manifest)
    if DEBUG_KEY in manifest.recipe:
        return []
    if status not in ENDED:
        return []
    facts = {axis: manifest.axes.get(axis, "") for axis in AXES}
    return [FailedRun(folder, manifest, facts, status, why)]


def question_of(run: FailedRun, groups: Sequence[list[FinishedRun]]) -> list[FinishedRun] | None:
    """Return the first of the groups that it would have been one of: the same axes and keys of the data, the
    split and the candidates; None where there is none."""
    return next((group for group in groups if any(_asks(run, other) for other in group)), None)


def same_run(run: FailedRun, other: FinishedRun) -> bool:
    """Return whether ``other`` is the same, finished."""
    return run.manifest.config_hash == other.manifest.config_hash and str(run.facts["seed"]) == str(
        other.facts["seed"]
    )


def _asks(run: AnyRun, other: AnyRun) -> bool:
    mine, its = (
        {key: value for key, value in each.manifest.recipe.items() if key.startswith(ASKS)}
        for each in (run, other)
    )
    # probes and late labels belong to streams, which not every run beside it has
    shared = {key for key in mine.keys() & its.keys() if not key.startswith("online.")}
    return all(str(run.facts[axis]) == str(other.facts[axis]) for axis in ALL) and all(
        mine[key] == its[key] for key in shared
    )
