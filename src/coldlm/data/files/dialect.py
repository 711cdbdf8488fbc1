"""How a text file is written: its encoding, and what stands between its fields. Found out where that
is safe, refused with the readings that are possible where it is not."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from coldlm.core.errors import DataError
from coldlm.data.files.lines import AGAIN, check_whole, csv_rows, open_bytes

SEPARATORS: Final[Mapping[str, str]] = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe"}
"""What is tried -> its name, which may be written for it."""

OTHERS: Final = ("gb18030", "latin-1")
"""Encodings in which lines are shown that are not UTF-8: almost any bytes are valid in both."""

MARKS: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""Byte order marks of encodings other than UTF-8."""

SAMPLE: Final = 50
"""Rows by which a separator is told."""


@dataclass(frozen=True)
class Dialect:
    """``encoding``: as Python calls it. ``separator``: one character."""

    encoding: str = "utf-8"
    separator: str = ","

    def __str__(self) -> str:
        name = SEPARATORS.get(self.separator, repr(self.separator))
        return f"{self.encoding}, fields between {name}s"


def find_dialect(
    path: Path,
    knows: Callable[[Sequence[str]], bool],
    *,
    encoding: str | None = None,
    separator: str | None = None,
) -> Dialect:
    """Return how the file is written.

    Args:
        knows: whether a header holds any name that one would expect; it decides between separators
            that are all possible.
        encoding: what to take a file for that is neither marked nor UTF-8. separator: what stands
            between fields wherever the header holds it; a character, or its name in ``SEPARATORS``.

    Raises:
        DataError: neither UTF-8 nor marked as UTF-16, or lines that can be split in several ways.
    """
    check_whole(path, line_break=False)
    encoding = _find_encoding(path, encoding)
    if separator:
        names = {name: character for character, name in SEPARATORS.items()}
        separator = names.get(separator, separator)
        if len(next(csv_rows(path, encoding=encoding, separator=separator), (0, [""]))[1]) > 1:
            return Dialect(encoding, separator)
    return Dialect(encoding, _find_separator(path, encoding, knows))


def dialect_key_problems(encoding: str | None, separator: str | None) -> list[str]:
    """Return what is wrong with the keys ``dataset.encoding`` and ``dataset.separator``."""
    found = []
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError:
        found.append(
            f"dataset.encoding={encoding}: no encoding that Python knows, such as gb18030, latin-1, "
            "cp1252, big5, shift_jis or utf-16-le"
        )
    if separator and len(separator) != 1 and separator not in SEPARATORS.values():
        found.append(
            f"dataset.separator={separator!r}: one character, or {', '.join(SEPARATORS.values())}"
        )
    return found


def _find_encoding(path: Path, otherwise: str | None) -> str:
    """UTF-16 if it is marked, UTF-8 if the whole file is, else what the user says."""
    strange: list[tuple[int, bytes]] = []
    try:
        with open_bytes(path) as stream:
            begins = stream.read(400)
            if b"\r" in begins and b"\n" not in begins:
                raise DataError(
                    f"{path}, line 1: its lines end with carriage returns alone; save it with line feeds"
                )
            for mark, encoding in MARKS.items():
                if begins.startswith(mark):
                    return encoding
            if begins.count(b"\0") * 3 > len(begins):
                if otherwise:
                    return codecs.lookup(otherwise).name
                raise DataError(
                    f"{path}: every other byte is 0, as in UTF-16; set dataset.encoding=utf-16-le "
                    "or utf-16-be"
                )
            stream.seek(0)
            for number, line in enumerate(stream, 1):
                if len(strange) < 3 and not _is_utf_8(line):
                    strange.append((number, line.rstrip(b"\r\n")))
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{path}: cannot be unpacked as UTF-8 text; unpack it first if it is another encoding; "
            f"{AGAIN}"
        ) from error
    except (OSError, EOFError):
        return "utf-8"  # damaged: whoever reads it names the line
    if not strange:
        return "utf-8"
    if otherwise:
        return codecs.lookup(otherwise).name
    shown = "".join(
        f"\n    line {number} as {name}: {line.decode(name, 'replace')[:80]!r}"
        for number, line in strange
        for name in OTHERS
    )
    raise DataError(
        f"{path}: not UTF-8; its first such lines:{shown}\n    set dataset.encoding=gb18030 or "
        "dataset.encoding=latin-1, whichever is right, or save it anew as UTF-8"
    )


def _is_utf_8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _find_separator(path: Path, encoding: str, knows: Callable[[Sequence[str]], bool]) -> str:
    """The one that splits the first rows alike; if several do, the one whose header makes sense."""
    headers, alike = dict[str, list[str]](), list[str]()
    for separator in SEPARATORS:
        try:
            rows = list(islice(csv_rows(path, encoding=encoding, separator=separator), SAMPLE))
        except DataError:  # whoever reads it names the line
            continue
        if rows and len(rows[0][1]) > 1:
            headers[separator] = rows[0][1]
            if len({len(row) for _, row in rows}) == 1:
                alike.append(separator)
    possible = alike or list(headers)
    if len(possible) > 1:
        possible = [each for each in possible if knows(headers[each])] or possible
    if len(possible) > 1:
        shown = "".join(
            f"\n    between {SEPARATORS[each]}s: {', '.join(map(repr, headers[each]))}"
            for each in possible
        )
        raise DataError(
            f"{path}: its header can be read in several ways:{shown}\n    set dataset.separator="
            f"{' or '.join(SEPARATORS[each] for each in possible)}"
        )
    return possible[0] if possible else ","
