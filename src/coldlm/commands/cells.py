"""The cells of the sweeps over a folder: which there are, and how each of them stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path

from coldlm.config.compose import Plan
from coldlm.core.errors import RunFolderError
from coldlm.core.files import write_json
from coldlm.runs.claim import MOST_DEATHS, deaths_of, is_claimed
from coldlm.runs.manifest import NAME, read_manifest

SWEEP = ".sweep"
"""Folder beside the run folders: what sweeps there were, and what cells on ``launcher=process`` said."""

FINISHED, RUNNING, FAILED, DIVERGED, MISSING = (
    "FINISHED",
    "RUNNING",
    "FAILED",
    "DIVERGED",
    "MISSING",
)


@dataclass(frozen=True)
class Standing:
    """How a cell stands. ``status``: RUNNING only while a process lives that carries it out. ``done``: its
    finished stages. ``seconds``: of those. ``deaths``: see ``runs/claim.py``."""

    folder: Path
    status: str
    done: tuple[str, ...] = ()
    seconds: float = 0.0
    reason: str = ""
    deaths: int = 0


def write(plan: Plan) -> None:
    """Write down which cells a sweep has, in the folders that hold their run folders.

    Raises:
        RunFolderError: that cannot be written.
    """
    for parent, folders in groupby(sorted(plan.folders), key=lambda folder: folder.parent):
        names = [folder.name for folder in folders]
        digest = sha256("\n".join(names).encode()).hexdigest()[:12]
        try:
            (parent / SWEEP).mkdir(parents=True, exist_ok=True)
            about = {"given": list(plan.given), "cells": names}
            write_json(parent / SWEEP / f"{digest}.json", about)
        except OSError as error:
            raise RunFolderError(
                f"{parent / SWEEP} cannot be written ({error.strerror}): choose another output=..."
            ) from error


def sweeps(folder: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the overrides and the cells' names of each sweep over a folder.

    Raises:
        RunFolderError: there was none.
    """
    files = sorted((folder / SWEEP).glob("*.json"))
    if not files:
        raise RunFolderError(
            f"{folder} holds no sweep; give the folder that a sweep's output=... named, such as runs"
        )
    for file in files:
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
            yield [*map(str, about["given"])], [*map(str, about["cells"])]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RunFolderError(f"{file} is no list of cells ({error}); remove it") from error


def standing(folder: Path) -> Standing:
    """Return how the cell of this run folder stands."""
    if not (folder / NAME).is_file():
        return Standing(folder, RUNNING if is_claimed(folder) else MISSING)
    try:
        manifest = read_manifest(folder)
    except RunFolderError as error:
        return Standing(folder, FAILED, reason=str(error))
    done, seconds = tuple(manifest.done), sum(each or 0.0 for each in manifest.seconds.values())
    if manifest.status != RUNNING:
        reason, deaths = manifest.reason or "", manifest.deaths or 0
        return Standing(folder, manifest.status, done, seconds, reason, deaths)
    if is_claimed(folder):
        return Standing(folder, RUNNING, done, seconds)
    deaths = deaths_of(manifest)
    left = "no other is tried" if deaths >= MOST_DEATHS else "the same command goes on"
    return Standing(folder, FAILED, done, seconds, f"its process died; {left}", deaths)


def deaths(folder: Path) -> int:
    """Return how often a process has died over the cell of this run folder."""
    return standing(folder).deaths


def is_finished(folder: Path) -> bool:
    """Return whether nothing is left to do of the cell of this run folder."""
    return standing(folder).status == FINISHED


def last_lines(folder: Path, most: int) -> list[str]:
    """Return the last lines that the cell of this run folder said, as plain text."""
    for file in (folder.parent / SWEEP / f"{folder.name}.out", folder / "run.log"):
        if file.is_file() and (lines := file.read_text("utf-8", "replace").splitlines()):
            return ["".join(c for c in line if c.isprintable()) for line in lines[-most:]]
    return []
