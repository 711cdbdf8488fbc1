"""Parsed tables kept on disk: a second start reads parquet, and two processes that need the same
ones build them once.

A folder is named by what it was made from: the data set, the content of the raw files and the
reader's version. Nothing else is ever looked up, so a changed file cannot meet stale tables.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock

from coldlm.core.errors import DataError
from coldlm.data.canonical.assemble import Tables
from coldlm.data.files.raw import hash_files

FORMAT = 3
"""Of the kept tables; a change here makes all of them anew."""

_SMALL = ("counts", "log_starts_at")
_FRAMES = tuple(f.name for f in fields(Tables) if f.name not in _SMALL)


def prepared_tables(
    name: str,
    files: Sequence[Path],
    build: Callable[[], Tables],
    *,
    version: int,
    cache: Path,
) -> tuple[Tables, dict[str, str]]:
    """Return the tables of ``build``, from the cache if it holds them, and the sha256 of each raw
    file by name.

    Args:
        name: of the data set, first part of the folder's name; another wherever ``build`` depends
            on more than the files.
        version: of the reader; raise it whenever it reads a file differently.

    Raises:
        DataError: see ``build``; nothing is kept then.
    """
    hashes = hash_files(files)
    made_from = {"format": FORMAT, "reader": name, "version": version, "files": hashes}
    key = sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:32]
    folder = cache / "prepared" / f"{name}-{key}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                _keep(build(), folder, made_from)
    return _read(folder), hashes


def _keep(tables: Tables, folder: Path, made_from: Mapping[str, object]) -> None:
    """Write into a folder beside, then rename: a folder of that name is always whole. What a
    process that was killed has left is removed: who holds the lock writes alone."""
    for left in folder.parent.glob(f"{folder.name}*.part"):
        shutil.rmtree(left, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=folder.name, suffix=".part", dir=folder.parent))
    try:
        for name in _FRAMES:
            getattr(tables, name).write_parquet(part / f"{name}.parquet")
        about = {**made_from, **{name: getattr(tables, name) for name in _SMALL}}
        (part / "about.json").write_text(
            json.dumps(about, indent=2, ensure_ascii=False), encoding="utf-8"
        )
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _read(folder: Path) -> Tables:
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        columns: dict[str, Any] = {
            name: pl.read_parquet(folder / f"{name}.parquet") for name in _FRAMES
        }
        return Tables(**columns, **{name: about[name] for name in _SMALL})
    except (OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{folder}: the prepared tables are damaged ({error}); delete the folder and run again"
        ) from error
