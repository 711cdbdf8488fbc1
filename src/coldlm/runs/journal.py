"""A journal: one line of JSON per record, on the disk before anybody is told that it was taken."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coldlm.core.errors import RunFolderError

Line = dict[str, Any]


def read_journal(file: Path) -> tuple[list[Line], int]:
    """Return the records of a journal, none where there is no file, and the bytes of its whole lines:
    what lies behind them is a line that was torn when its writer was killed, which nobody was told of.

    Raises:
        RunFolderError: a line in the middle is damaged.
    """
    content = file.read_bytes() if file.is_file() else b""
    whole = content.rfind(b"\n") + 1
    lines = []
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            lines.append(json.loads(line))
        except ValueError as error:
            raise RunFolderError(
                f"{file}, line {number} is damaged ({error}): remove the line; what it held is lost"
            ) from error
    return lines, whole


class Journal:
    """Opened for writing, behind the last whole line. ``torn``: bytes of a torn line, which are gone."""

    def __init__(self, file: Path) -> None:
        self.lines, self._whole = read_journal(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._out = file.open("ab", buffering=0)
        self.torn = file.stat().st_size - self._whole
        self._out.truncate(self._whole)
        os.fsync(self._out.fileno())
        _sync_folder(file.parent)

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write records, and come back when they are on the disk.

        Raises:
            OSError: they are not; the journal ends where it ended before.
        """
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        content = "".join(lines).encode()
        try:
            if self._out.write(content) != len(content):
                raise OSError("the disk took a part of it only")
            os.fsync(self._out.fileno())
        except OSError:
            self._out.truncate(self._whole)
            raise
        self._whole += len(content)

    def close(self) -> None:
        """Close the file."""
        self._out.close()


def _sync_folder(folder: Path) -> None:
    """Let the name of a new file be on the disk too, where a folder can be opened."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
