"""Downloads: resumed where they broke off, checked before anybody sees them, unpacked without
leaving their folder."""

from __future__ import annotations

import filecmp
import hashlib
import json
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from filelock import FileLock

from coldlm.core.errors import DataError
from coldlm.core.files import write_json

BLOCK = 1 << 20
TIMEOUT = 30
"""Seconds without a byte."""

LARGEST = 50 * 10**9
"""Bytes that an archive may hold unpacked, whatever it says of itself."""

RECORD = "fetched.json"
"""In each data set's folder: what was downloaded, when, and its sha256."""

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
        if not (folder / name).is_file() or _sha256(folder / name) != digest
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
    return found if kind in ("", "sha256") else _sha256(file)


def _put_aside(part: Path) -> Path:
    aside = part.with_suffix(".wrong")
    part.replace(aside)
    return aside


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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


def unpack(
    archive: Path, folder: Path, *, kind: str, into: str = "", largest: int = LARGEST
) -> dict[str, str]:
    """Return the files of a zip or tar archive, below ``folder``; either all of them appear or
    none.

    Returns:
        The sha256 of each file by its path below ``folder``.

    Args:
        kind: the archive's name, which ends in .zip, .tar.gz, .tgz or .tar.
        into: see ``Remote``.
        largest: bytes that its files may have together.

    Raises:
        DataError: damaged; or a file that would lie outside ``folder`` or over another one, a link
            or device, a name twice, too large.
    """
    ours = f".unpack-{kind}-"
    for left in [path for path in folder.iterdir() if path.name.startswith(ours)]:
        # of a process that was killed: who unpacks this archive is alone
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=ours, dir=folder) as name:
        scratch, total, seen = Path(name), 0, set[str]()
        try:
            for path, size, opened in _members(archive, kind):
                where = f"{kind}: {path!r}"
                pure = PurePosixPath(path)
                if pure.is_absolute() or ".." in pure.parts or "\\" in path or ":" in path:
                    raise DataError(
                        f"{where} would lie outside of its folder; this archive is not unpacked"
                    )
                if not path.isprintable() or _is_ours(pure):
                    raise DataError(
                        f"{where} is no name for a file of data; this archive is not unpacked"
                    )
                key = unicodedata.normalize("NFC", str(pure)).casefold()
                if key in seen:
                    raise DataError(f"{where} is there twice; this archive is not unpacked")
                seen.add(key)
                total += size
                if total > largest:
                    raise DataError(
                        f"{kind}: more than {largest:,} bytes unpacked; this archive is not "
                        "unpacked"
                    )
                target = scratch / (pure if not into or pure.parts[0] == into else into / pure)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened() as source, target.open("xb") as stream:
                    _copy(source, stream, size, where)
        except DataError:
            raise
        except Exception as error:  # a hostile archive makes its reader fail in any way it likes
            raise DataError(
                f"{kind}: damaged ({type(error).__name__}: {error}); remove it and fetch again"
            ) from error
        files = sorted(path for path in scratch.rglob("*") if path.is_file())
        if not files:
            raise DataError(f"{kind}: holds no file: not the archive that was meant")
        for file in files:
            there = folder / file.relative_to(scratch)
            if there.exists() and not (there.is_file() and filecmp.cmp(file, there, shallow=False)):
                raise DataError(
                    f"{there} is there already, with other content: move it away and fetch again"
                )
        for file in files:
            target = folder / file.relative_to(scratch)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
        return {
            name: _sha256(folder / name)
            for name in (str(file.relative_to(scratch)) for file in files)
        }


def _is_ours(path: PurePosixPath) -> bool:
    """Whether a file would pass for one of the record, locks and accepted terms that lie beside the
    data."""
    return path.parts[0] == RECORD or (path.parts[0].startswith(".") and path.name != ".DS_Store")


def _members(archive: Path, kind: str) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """(path, size, open) of every regular file; folders are passed over, everything else is
    refused."""
    if kind.endswith(".zip"):
        with zipfile.ZipFile(archive) as package:
            for entry in package.infolist():
                mode = entry.external_attr >> 16
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise DataError(
                        f"{kind}: {entry.filename!r} is a link or device; this archive is not "
                        "unpacked"
                    )
                if not entry.is_dir():
                    yield entry.filename, entry.file_size, lambda entry=entry: package.open(entry)  # type: ignore[misc]
        return
    with tarfile.open(archive) as package:
        for member in package:
            if member.isfile():
                yield member.name, member.size, lambda member=member: package.extractfile(member)  # type: ignore[misc]
            elif not member.isdir():
                raise DataError(
                    f"{kind}: {member.name!r} is a link or device; this archive is not unpacked"
                )
        # the rest holds the checksum
        while package.fileobj is not None and package.fileobj.read(BLOCK):
            pass


def _copy(source: IO[bytes], stream: IO[bytes], size: int, where: str) -> None:
    """At most ``size`` bytes: an archive may hold more than it says."""
    shutil.copyfileobj(_Limited(source, size, where), stream, BLOCK)


class _Limited:
    def __init__(self, source: IO[bytes], size: int, where: str) -> None:
        self._source, self._left, self._where = source, size, where

    def read(self, n: int = -1) -> bytes:
        block = self._source.read(n)
        self._left -= len(block)
        if self._left < 0:
            raise DataError(
                f"{self._where} is larger than the archive says; this archive is not unpacked"
            )
        return block
