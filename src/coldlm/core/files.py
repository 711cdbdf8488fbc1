"""Write files whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coldlm.core.errors import RunFolderError


def write_file(file: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file in the same folder, then rename: a reader sees all of it
    or none."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to be filled, which then is ``folder``; nothing is left of it after an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        yield part
        for path in (part, *part.rglob("*")):  # some libraries write for their user alone
            path.chmod(0o755 if path.is_dir() else 0o644)
        part.replace(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def refuse_filled(folder: Path, option: str) -> None:
    """Refuse a folder that something lies in, or a file of that name.

    Raises:
        RunFolderError: it is one.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderError(
            f"{folder} is there and not empty: choose another {option}, or remove it"
        )


FRESH = 2.0
"""Seconds since a file was changed within which another change could go unseen: clocks of files are coarse."""

_HASHES: dict[tuple[Any, ...], str] = {}


def hash_file(file: Path) -> str:
    """Return the sha256 of a file, 64 hex digits; read again only if it has changed since this process
    read it, for a run of a large backbone asks several times."""
    now = file.stat()
    # nobody can set the time of the last change, unlike that of the last writing
    key = (file.resolve(), now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    if key not in _HASHES:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if time.time() - now.st_ctime < FRESH:
            return digest
        _HASHES[key] = digest
    return _HASHES[key]


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` atomically."""
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
    write_file(file, lambda part: part.write_text(text, encoding="utf-8"))
