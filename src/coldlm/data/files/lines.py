"""Text files line by line, plain, ``.gz`` or ``.zst``, read strictly: damage is refused with its line, never
read as less.

| function | for |
|---|---|
| ``text_lines`` | anything; what all others here are made of, or look through to name the damaged line |
| ``csv_rows`` | csv with quotes, whose fields may hold line breaks |
| ``read_objects`` | JSON lines: keys of known types, fast |
| ``json_lines`` | JSON lines: values of any type |

Tables are read by ``fields`` and ``raw``. What cannot be noticed are a flipped digit that still
makes a number, and a plain file that ends early at the end of a line.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from glob import escape
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any, Final, NoReturn, cast

import polars as pl

from coldlm.core.errors import DataError

AGAIN: Final = "download it again, or save it anew as UTF-8 text"

NO_ROWS: Final = "no rows; at least one is needed"

MAGIC: Final = {
    ".gz": (b"\x1f\x8b", "gzip archive"),
    ".zst": (b"\x28\xb5\x2f\xfd", "zstd archive"),
}
"""Suffix of an archive -> how it begins, and what it is."""

WIDE: Final = ("utf-16", "utf-16-le", "utf-16-be")
"""Encodings in which a line break is more than one byte."""


def check_whole(path: Path, *, line_break: bool = True) -> None:
    """Refuse what was obviously cut off or is no archive, at the cost of a few bytes read.

    Args:
        line_break: whether a plain file must end with one: without it, its last number may be the
            first digits of a longer one.

    Raises:
        DataError: no file, a ``.gz`` or ``.zst`` that does not begin as one, an empty file, or no
            line break at its end.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with path.open("rb") as stream:
        if path.suffix in MAGIC:
            begins, what = MAGIC[path.suffix]
            if stream.read(len(begins)) != begins:
                raise DataError(
                    f"{path}: no {what}; {AGAIN}; if it is unpacked already, take {path.suffix} "
                    "from its name"
                )
            return
        if not (size := path.stat().st_size):
            raise DataError(f"{path}: the file is empty; {AGAIN}")
        stream.seek(size - 1)
        if line_break and stream.read() != b"\n":
            stream.seek(0)
            line = sum(1 for _ in stream)
            raise DataError(
                f"{path}, line {line}: no line break at its end: it was cut off (if not, add one); "
                f"{AGAIN}"
            )


def text_lines(path: Path, *, encoding: str = "utf-8", errors: str = "strict") -> Iterator[str]:
    """Yield every line with its line break; the first one with the byte order mark, if there is
    one.

    Raises:
        DataError: another encoding, a NUL byte, or a damaged archive; with the line.
    """
    number = 0
    try:
        with open_bytes(path) as stream:
            if encoding in WIDE:
                wide = TextIOWrapper(stream, encoding, errors, newline="\n")
                for number, text in enumerate(wide, 1):
                    if "\0" in text:
                        raise DataError(f"{path}, line {number}: a NUL; {AGAIN}")
                    yield text
                return
            for number, line in enumerate(stream, 1):
                if b"\0" in line:
                    raise DataError(f"{path}, line {number}: a NUL byte; {AGAIN}")
                yield line.decode(encoding, errors)
    except UnicodeError as error:
        name = "UTF-8" if encoding == "utf-8" else encoding
        where = f"after line {number}" if encoding in WIDE else f"line {number}"
        reason = getattr(error, "reason", error)
        raise DataError(f"{path}, {where}: not {name} text ({reason}); {AGAIN}") from error
    except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path}, after line {number}: damaged archive: {error}; {AGAIN}"
        ) from error


def refuse_file(path: Path, kind: str, error: Exception, encoding: str = "utf-8") -> NoReturn:
    """Say what polars stumbled over: with the line if its text is damaged, else in the words of
    polars.

    Args:
        kind: what the file should be, such as "csv".

    Raises:
        DataError: always.
    """
    deque(text_lines(path, encoding=encoding), maxlen=0)
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    raise DataError(f"{path}: cannot be read as {kind}: {reason}; {AGAIN}") from error


def csv_rows(
    path: Path, *, errors: str = "strict", encoding: str = "utf-8", separator: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line on which it ends, fields) of every row, the first one too. A lone carriage return
    is a blank. Fields may be of any length.

    Raises:
        DataError: see ``text_lines``; stray quotes, with the first line of their row.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # texts beyond Python's 131,072 are kept
    text = text_lines(path, errors=errors, encoding=encoding)
    lines = (line.replace("\r\n", "\n").replace("\r", " ") for line in text)
    reader = csv.reader(_without_mark(lines), strict=True, delimiter=separator)
    line = 0
    try:
        for row in reader:
            yield (line := reader.line_num), row
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line + 1}: cannot be read as csv: {error}; is a quote not closed? "
            f"{AGAIN}"
        ) from error


def read_objects(path: Path, schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    """Return the keys of ``schema`` of every JSON line, null where a line lacks one, and ``line``,
    its number from 1.

    Blank lines are passed over, and not counted.

    Raises:
        DataError: a damaged archive, a line that is no JSON object, or a value of another type;
            names the line.
    """
    check_whole(path, line_break=False)
    try:
        # escaped: a name with brackets would be taken for a pattern, which matches nothing
        rows = pl.scan_ndjson(
            escape(str(path)), schema=dict(schema), row_index_name="line", row_index_offset=1
        )
        table = rows.collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError) as error:
        for number, found in json_lines(path):
            for key, kind in schema.items():
                if (value := found.get(key)) is not None and type(value) not in _PYTHON[kind]:
                    raise DataError(
                        f"{path}, line {number}, {key!r}: {value!r}; expected {kind}; {AGAIN}"
                    ) from error
        refuse_file(path, "JSON lines", error)
    if not len(table):
        raise DataError(f"{path}: {NO_ROWS}")
    return table


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of every JSON line that is not blank, for keys whose values have
    no fixed type.

    Raises:
        DataError: see ``text_lines``; a line that is no JSON object.
    """
    for number, line in enumerate(text_lines(path), 1):
        if line.isspace():
            continue
        try:
            found = _DECODER.decode(line)
        except ValueError as error:
            reason = (
                f"{error.msg} at character {error.pos}"
                if isinstance(error, json.JSONDecodeError)
                else str(error)
            )
            raise DataError(f"{path}, line {number}: not JSON: {reason}; {AGAIN}") from error
        if not isinstance(found, dict):
            raise DataError(f"{path}, line {number}: no JSON object; {AGAIN}")
        yield number, found


_PYTHON: Final[dict[type[pl.DataType], tuple[type, ...]]] = {
    pl.String: (str,),
    pl.Int64: (int,),
    pl.Float64: (float, int),
}


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_number)


def open_bytes(path: Path) -> IO[bytes]:
    """Open what a file holds, unpacked. zstd is unpacked by polars, as lines of UTF-8 text, into memory.

    Raises:
        polars.exceptions.PolarsError: a ``.zst`` that is damaged, or holds other bytes than UTF-8.
    """
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if path.suffix == ".zst":
        # a separator that no text holds: every line is one field
        rows = pl.read_csv(
            path, has_header=False, separator="\0", quote_char=None, glob=False, schema={"line": pl.String},
        )  # fmt: skip
        return BytesIO("".join(f"{line}\n" for line in rows["line"].fill_null("")).encode())
    return path.open("rb")


def _without_mark(lines: Iterator[str]) -> Iterator[str]:
    for first in lines:
        yield first.removeprefix("\ufeff")
        yield from lines
