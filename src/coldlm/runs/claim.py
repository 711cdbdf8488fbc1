"""Who carries out a run: one process at a time, and how often one has died over it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from coldlm.core.errors import ColdlmError, RunFolderError
from coldlm.core.files import write_json
from coldlm.runs.manifest import NAME, Manifest, read_manifest

log = logging.getLogger("coldlm")

LOCK, OWNER = ".lock", ".owner"
"""In a run folder: what the system locks for as long as the process lives, and whose it is, in words."""

MOST_DEATHS = 2
"""Deaths in one stage after which a sweep leaves a cell alone."""


class Claimed(ColdlmError):
    """Another process carries this run out."""


@contextmanager
def claimed(folder: Path, *, waits: bool = False) -> Iterator[None]:
    """Make the run folder and hold it: no other process carries the run out meanwhile, and the death
    of this one gives it back.

    Args:
        waits: until another process that holds it gives it back.

    Raises:
        Claimed: another process holds it.
        RunFolderError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=-1 if waits else 0)
        lock.acquire()
    except Timeout as error:
        raise Claimed(
            f"{folder} is carried out by another process ({_owner(folder)}); wait for it, or give "
            "this run another name=..."
        ) from error
    except NotImplementedError:  # a file system without locks, some of the network's
        log.warning(
            "%s: this file system knows no locks; start no two runs over one folder", folder
        )
        yield
        return
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be made ({error.strerror}): choose another output=..."
        ) from error
    try:
        about = f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%H:%M:%S}"
        (folder / OWNER).write_text(about, encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            (folder / OWNER).unlink()
        lock.release()


def is_claimed(folder: Path) -> bool:
    """Return whether a process carries the run in ``folder`` out just now."""
    if not (folder / LOCK).is_file():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False


def count_death(manifest: Manifest) -> None:
    """Count in the manifest of a run that this process has claimed the process that left it in the midst of
    its work, if there was one."""
    if manifest.status == "RUNNING" and manifest.run is not None:
        manifest.deaths = (manifest.deaths or 0) + 1


def deaths_of(manifest: Manifest) -> int:
    """Return how often a process has died over the stage at which a run stands that nobody has claimed."""
    left = replace(manifest)
    count_death(left)
    return left.deaths or 0


def write_death(folder: Path, reason: str) -> None:
    """Say in the manifest of a run that its process has died; nothing if it had ended, or has not begun."""
    with suppress(RunFolderError, Claimed), claimed(folder):
        manifest = read_manifest(folder)
        if manifest.status == "RUNNING":
            count_death(manifest)
            manifest.status, manifest.reason = "FAILED", reason
            write_json(folder / NAME, manifest.plain())


def forget_deaths(folder: Path) -> None:
    """Let a sweep try the run in ``folder`` again, however often a process has died over it.

    Raises:
        Claimed: another process carries it out.
        RunFolderError: no readable manifest.
    """
    with claimed(folder):
        manifest = read_manifest(folder)
        if deaths_of(manifest):
            manifest.status, manifest.deaths = "FAILED", None
            manifest.reason = manifest.reason or "its process died"
            write_json(folder / NAME, manifest.plain())


def _owner(folder: Path) -> str:
    try:
        return (folder / OWNER).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return "which says nothing of itself"
