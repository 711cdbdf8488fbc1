"""Files of lines, plain or ``.gz``, read strictly: what is damaged is refused with its line, never shortened.

A plain csv must end with a line break: without one its last line may be the beginning of a longer one. What cannot be
noticed are a flipped digit that still makes a number, and a plain file that ends early at the end of a line.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import polars as pl

from coldlm.data.raw import missing_columns, refuse
from coldlm.errors import DataError

AGAIN = "download it again"


def open_lines(path: Path) -> IO[bytes]:
    """The bytes of the file, unpacked if its name ends in .gz."""
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def check_end(path: Path) -> None:
    """Refuse a plain file without a line break at its end.

    Raises:
        DataError: with the line.
    """
    if path.suffix != ".gz" and (size := path.stat().st_size):
        with path.open("rb") as stream:
            stream.seek(size - 1)
            if stream.read() != b"\n":
                stream.seek(0)
                line = sum(1 for _ in stream)
                raise DataError(f"{path}, line {line}: no line break at its end: it was cut off; {AGAIN}")


def read_fields(
    path: Path, columns: Sequence[str], *, has_header: bool = True, optional: Sequence[str] = ()
) -> pl.DataFrame:
    """The ``columns`` of a csv without quotes, as strings that are never stripped.

    Args:
        columns: names that the header must have, in any order; without a header the names of all fields.
        optional: columns that may be empty (null).

    Raises:
        DataError: a damaged archive, not UTF-8, NUL bytes, quotes, lines with another number of fields, empty fields
            that are not optional, columns that are missing or named twice, no row, no line break at the end.
    """
    _check_archive(path)
    check_end(path)
    try:
        table = pl.read_csv(
            path,
            has_header=has_header,
            new_columns=None if has_header else columns,
            infer_schema=False,
            quote_char=None,
            glob=False,
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        _refuse_csv(path, error)
    first = 2 if has_header else 1
    if has_header:
        _check_names(path, table.columns, columns)
    if not len(table):
        raise DataError(f"{path}: no rows; at least one is needed")
    for name in table.columns:
        stray = pl.col(name).str.contains_any(['"', "\r", "\0"])
        check_rows(table, stray, name, "no quote, carriage return or NUL", path, first)
        # the last field shows that a line was cut off
        if (name in columns and name not in optional) or name == table.columns[-1]:
            check_rows(table, pl.col(name).is_null(), name, f"{len(table.columns)} fields in every line", path, first)
    return table.select(columns)


def check_rows(table: pl.DataFrame, bad: pl.Expr, column: str, expected: str, path: Path, first: int = 1) -> None:
    """Refuse the first row for which ``bad`` holds; row 0 is line ``first`` of the file.

    Raises:
        DataError: with file, line, column, the value, and what was expected.
    """
    rows = table.select(bad.arg_true()).to_series()
    if len(rows):
        value = table[column][rows[0]]
        got = "nothing" if value is None else repr(value)
        raise DataError(f"{path}, line {rows[0] + first}, column {column!r}: {got}; expected {expected}")


def read_objects(path: Path, schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    """The keys of ``schema`` of every JSON line, null where a line lacks one.

    Raises:
        DataError: a damaged archive, a line that is no JSON object, or a value of another type; names the line.
    """
    _check_archive(path)
    try:
        # escaped: a name with brackets would be taken for a pattern, which matches nothing
        table = pl.scan_ndjson(escape(str(path)), schema=dict(schema)).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        for number, found in json_lines(path):
            for key, kind in schema.items():
                if (value := found.get(key)) is not None and type(value) not in _PYTHON[kind]:
                    raise DataError(f"{path}, line {number}, {key!r}: {value!r}; expected {kind}") from error
        raise DataError(f"{path}: cannot be read as JSON lines: {_reason(error)}; {AGAIN}") from error
    if not len(table):
        raise DataError(f"{path}: no rows; at least one is needed")
    return table


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every JSON line, for keys whose values have no fixed type.

    Raises:
        DataError: a damaged archive, or a line that is no JSON object.
    """
    number = 0
    try:
        with open_lines(path) as stream:
            for number, line in enumerate(stream, 1):
                found = _DECODER.decode(line.decode())
                if not isinstance(found, dict):
                    raise DataError(f"{path}, line {number}: no JSON object; {AGAIN}")
                yield number, found
    except ValueError as error:
        reason = f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{path}, line {number}: not JSON: {reason}; {AGAIN}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}, after line {number}: damaged archive: {error}; {AGAIN}") from error


_PYTHON: dict[type[pl.DataType], tuple[type, ...]] = {
    pl.String: (str,),
    pl.Int64: (int,),
    pl.Float64: (float, int),
}


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _check_archive(path: Path) -> None:
    with path.open("rb") as stream:
        if path.suffix == ".gz" and stream.read(2) != b"\x1f\x8b":
            raise DataError(f"{path}: no gzip archive; {AGAIN}, or take .gz from its name if it is unpacked already")


def _check_names(path: Path, found: Sequence[str], needed: Sequence[str]) -> None:
    refuse(missing_columns(path, found, needed))
    for name in found:
        if (original := name.partition("_duplicated_")[0]) != name:
            raise DataError(f"{path}: column {original!r} appears twice; {AGAIN}")


def _refuse_csv(path: Path, error: Exception) -> NoReturn:
    """Name the first line that is not UTF-8 or has another number of fields than the first."""
    number, n_fields = 0, 0
    try:
        with open_lines(path) as stream:
            for number, line in enumerate(stream, 1):
                fields = line.decode().count(",") + 1
                n_fields = n_fields or fields
                if fields != n_fields:
                    raise DataError(f"{path}, line {number}: {fields} fields, expected {n_fields}; {AGAIN}") from error
    except UnicodeDecodeError as what:
        raise DataError(f"{path}, line {number}: not UTF-8 text ({what.reason}); {AGAIN}") from error
    except (OSError, EOFError, zlib.error) as what:
        raise DataError(f"{path}, after line {number}: damaged archive: {what}; {AGAIN}") from error
    raise DataError(f"{path}: cannot be read as csv: {_reason(error)}; {AGAIN}") from error


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
