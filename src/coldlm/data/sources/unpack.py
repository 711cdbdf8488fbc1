"""Archives, unpacked without leaving their folder: either all of their files appear, or none."""

from __future__ import annotations

import filecmp
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from coldlm.core.errors import DataError
from coldlm.core.files import hash_file

BLOCK = 1 << 20

LARGEST = 50 * 10**9
"""Bytes that an archive may hold unpacked, whatever it says of itself."""

RECORD = "fetched.json"
"""In each data set's folder: what was downloaded, when, and its sha256."""


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
        scratch = Path(name)
        try:
            _unpack_into(scratch, archive, kind, into, largest)
        except DataError:
            raise
        except Exception as error:  # a hostile archive makes its reader fail in any way it likes
            raise DataError(
                f"{kind}: damaged ({type(error).__name__}: {error}); remove it and fetch again"
            ) from error
        return _put_in_place(scratch, folder, kind)


def _unpack_into(scratch: Path, archive: Path, kind: str, into: str, largest: int) -> None:
    total, seen = 0, set[str]()
    for path, size, opened in _members(archive, kind):
        where = f"{kind}: {path!r}"
        pure = PurePosixPath(path)
        _refuse_name(path, where)
        key = unicodedata.normalize("NFC", str(pure)).casefold()
        if key in seen:
            raise DataError(f"{where} is there twice; this archive is not unpacked")
        seen.add(key)
        total += size
        if total > largest:
            raise DataError(
                f"{kind}: more than {largest:,} bytes unpacked; this archive is not unpacked"
            )
        target = scratch / (pure if not into or pure.parts[0] == into else into / pure)
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened() as source, target.open("xb") as stream:
            _copy(source, stream, size, where)


def _put_in_place(scratch: Path, folder: Path, kind: str) -> dict[str, str]:
    """Move all files, or none if one would take the place of another; their sha256."""
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
    names = [str(file.relative_to(scratch)) for file in files]
    return {name: hash_file(folder / name) for name in names}


def _refuse_name(path: str, where: str) -> None:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or ":" in path:
        raise DataError(f"{where} would lie outside of its folder; this archive is not unpacked")
    if not path.isprintable() or _is_ours(pure):
        raise DataError(f"{where} is no name for a file of data; this archive is not unpacked")


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
