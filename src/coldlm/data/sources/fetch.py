"""Downloads: resumed where they broke off, and checked before anybody sees them."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from coldlm.core.errors import DataError
from coldlm.core.files import hash_file, write_json
from coldlm.data.sources.unpack import BLOCK, RECORD, unpack

TIMEOUT = 30
"""Seconds without a byte."""

Progress = Callable[[int, int], None]
"""(bytes so far, bytes in all or 0 if that is not known)."""


@dataclass(frozen=True)
class Remote:
    """One file to download. ``digest``: "sha256:..." or "md5:...", "" where none is known.
    ``unpack``: a zip or tar.gz whose content is wanted, not itself. ``into``: the folder that its
    content goes to, whether the archive brings it along or not; "" for an archive that is taken as
    it is."""

    url: str
    digest: str = ""
    unpack: bool = False
    into: str = ""

    @property
    def name(self) -> str:
        return PurePosixPath(urllib.request.url2pathname(self.url)).name


def fetch(remote: Remote, folder: Path, progress: Progress = lambda done, total: None) -> bool:
    """Have ``remote`` in ``folder``, unpacked if it is an archive; nothing is done twice, by
    however many processes.

    Returns:
        Whether anything was downloaded.

    Raises:
        DataError: no connection, another file than the digest says, or an archive that is not safe
            to unpack. What was downloaded so far is kept, to be resumed, unless it is known to be
            wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{remote.name}.lock"):
        record = read_record(folder)
        if remote.name in record and not damaged(folder, record[remote.name]):
            return False
        part = folder / f"{remote.name}.part"
        _download(remote.url, part, progress)
        found = check(part, remote)
        if remote.unpack:
            try:
                files = unpack(part, folder, kind=remote.name, into=remote.into)
            except DataError as error:
                # kept, it would be resumed for ever
                raise DataError(f"{error}. It lies in {_put_aside(part)}") from error
            part.unlink()
        else:
            part.replace(folder / remote.name)
            files = {remote.name: found}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"url": remote.url, "sha256": found, "date": now, "files": files}
        with FileLock(folder / f".{RECORD}.lock"):  # others may have fetched other files since
            write_json(folder / RECORD, {**read_record(folder), remote.name: entry})
    return True


def damaged(folder: Path, entry: Mapping[str, Any]) -> list[str]:
    """Return the files of one entry of the record that are missing or have another content than
    when they were fetched."""
    files: dict[str, str] = entry["files"]
    return [
        name
        for name, digest in files.items()
        if not (folder / name).is_file() or hash_file(folder / name) != digest
    ]


def check(file: Path, remote: Remote) -> str:
    """Return the sha256 of ``file``.

    Raises:
        DataError: it is not the file that ``remote.digest`` names; it is put aside, so that it is
            not resumed.
    """
    kind, _, expected = remote.digest.partition(":")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, kind or "sha256").hexdigest()
    if expected and found != expected:
        raise DataError(
            f"{remote.url}: {kind} {found}, expected {expected}: another edition, or damaged on "
            "its way. It lies in "
            f"{_put_aside(file)}; remove it and fetch again, or get the right file by hand"
        )
    return found if kind in ("", "sha256") else hash_file(file)


def _put_aside(part: Path) -> Path:
    aside = part.with_suffix(".wrong")
    part.replace(aside)
    return aside


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what was downloaded into ``folder``, by name: url, sha256, date, and the sha256 of
    each file that it gave."""
    file = folder / RECORD
    try:
        record: dict[str, dict[str, Any]] = (
            json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        )
    except ValueError as error:
        raise DataError(f"{file} is damaged ({error}); remove it and fetch again") from error
    return record


def _download(url: str, part: Path, progress: Progress) -> None:
    """Have the whole file in ``part``: what is missing is appended, if the server can say that it
    fits."""
    done = part.stat().st_size if part.is_file() else 0
    if done and not _append(url, part, done, progress):
        part.unlink()
        done = 0
    if not done:
        _append(url, part, 0, progress)


def _append(url: str, part: Path, done: int, progress: Progress) -> bool:
    """Append what is missing behind ``done`` bytes; False if the server has another idea of what
    lies there."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            if done and answer.status != 206:
                done = 0  # the server gives all of it or nothing
            elif done and not (answer.headers.get("Content-Range") or "").startswith(
                f"bytes {done}-"
            ):
                return False
            total = done + int(answer.headers.get("Content-Length") or 0)
            with part.open("ab" if done else "wb") as stream:
                while block := answer.read(BLOCK):
                    stream.write(block)
                    done += len(block)
                    progress(done, total)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:
            # nothing is missing, if the file is as long as what is here
            return (error.headers.get("Content-Range") or "").endswith(f"/{done}")
        raise DataError(
            f"{url}: the server says {error.code} {error.reason}; get the file by hand"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{url}: {error}; {done:,} bytes are kept in {part}: the same command goes on from "
            "there"
        ) from error
    if total > done:
        raise DataError(
            f"{url}: broke off after {done:,} of {total:,} bytes; the same command goes on from "
            "there"
        )
    return True
