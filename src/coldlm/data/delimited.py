"""Delimited text, read strictly: a damaged file is refused with its line, never read as a smaller or shifted one.

| function | for | quotes |
|---|---|---|
| ``read_numbers`` | millions of rows of numbers | none |
| ``csv_columns`` | texts, some thousands of rows up to a few millions | as in a csv, may hold line breaks |
| ``split_lines`` | texts with a separator that occurs nowhere else | literal |

A file must end with a line break: without one, its last number may be the first digits of a longer one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from coldlm.data.raw import header, missing_columns, refuse
from coldlm.errors import DataError

AGAIN = "download it again"
_MARK = b"\xef\xbb\xbf"


def read_text(path: Path, encodings: Sequence[str] = ("utf-8",), errors: str = "strict") -> str:
    """The whole file with line breaks of one kind (a lone carriage return is a blank) and no byte order mark.

    Args:
        encodings: tried in this order: text in latin-1 is hardly ever valid UTF-8, but any file is valid latin-1.

    Raises:
        DataError: none of the encodings fits, a NUL byte, an empty file, or no line break at its end.
    """
    _check_end(path)
    content = path.read_bytes().removeprefix(_MARK)
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: a NUL byte; the file is damaged: {AGAIN}")
    for encoding in encodings:
        try:
            text = content.decode(encoding, errors)
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            problem = f"{path}, line {line}: not {' or '.join(encodings)} text ({error.reason}); {AGAIN}"
        else:
            return text.replace("\r\n", "\n").replace("\r", " ")
    raise DataError(problem)


def split_lines(path: Path, separator: str, n_fields: int, encodings: Sequence[str] = ("utf-8",)) -> list[list[str]]:
    """[lines] the fields of every line, quotes taken literally.

    Raises:
        DataError: see ``read_text``; a line with another number of fields.
    """
    rows = [line.split(separator) for line in read_text(path, encodings).split("\n")[:-1]]
    for number, row in enumerate(rows, 1):
        if len(row) != n_fields:
            raise DataError(
                f"{path}, line {number}: {len(row)} fields, expected {n_fields} separated by {separator!r}; {AGAIN}"
            )
    return rows


def csv_columns(path: Path, needed: Sequence[str], *, errors: str = "strict", names: bool = True) -> pl.DataFrame:
    """The columns ``needed`` as strings, "" where empty, and ``line``, where each row ends in the file.

    Args:
        names: whether the first line names the columns; without names they are those of ``needed``, in this order.

    Raises:
        DataError: see ``read_text``; a column that is missing or there twice, stray quotes, or a row with another
            number of fields.
    """
    text = read_text(path, errors=errors)
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    found, rows, lines = list(needed), [], []
    try:
        if names:
            found = next(reader)
            refuse(
                missing_columns(path, found, needed)
                + [f"{path}: column {name!r} appears twice" for name in sorted(set(found)) if found.count(name) > 1]
            )
        for row in reader:
            if len(row) != len(found):
                raise DataError(f"{path}, line {reader.line_num}: {len(row)} fields, expected {len(found)}; {AGAIN}")
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not csv ({error}); {AGAIN}") from error
    if not rows:
        raise DataError(f"{path}: no rows; {AGAIN}")
    columns = dict(zip(found, zip(*rows, strict=True), strict=True))
    return pl.DataFrame({name: columns[name] for name in needed} | {"line": lines})


def whole_numbers(table: pl.DataFrame, name: str, path: Path, kind: type[pl.DataType] = pl.Int64) -> pl.Series:
    """A column of ``csv_columns`` as integers.

    Raises:
        DataError: a value that is none, with its line.
    """
    column = table[name].cast(kind, strict=False)
    if column.null_count():
        row = column.is_null().arg_max() or 0
        raise DataError(f"{path}, line {table['line'][row]}, column {name!r}: {table[name][row]!r} is no whole number")
    return column.alias(name)


def read_numbers(
    path: Path,
    kinds: Mapping[str, type[pl.DataType]],
    *,
    separator: str = ",",
    names: bool = True,
    optional: Sequence[str] = (),
) -> pl.DataFrame:
    """The columns in ``kinds`` of a large table of numbers, in the types given.

    Args:
        separator: one character, or one character twice.
        names: whether the first line names the columns; without names the columns are those of ``kinds``.
        optional: columns that may be empty (null); the others may not.

    Raises:
        DataError: no line break at the end, a column that is missing or there twice, a row with another number of
            fields, or a value that is no (finite) number, with its line.
    """
    _check_end(path)
    found = list(kinds)
    if names:
        found = header(path)
        refuse(missing_columns(path, found, list(kinds)))
    columns = found
    if len(separator) == 2:  # read as one character with an empty column between any two
        columns = [part for name in found for part in (name, f"after {name}")][:-1]
    try:
        # all columns: with fewer, a row that has too many fields would pass
        table = pl.read_csv(
            path,
            has_header=names,
            separator=separator[0],
            quote_char=None,
            schema={name: kinds.get(name, pl.String) for name in columns},
        )
        missing = [name for name in kinds if name not in optional and table[name].null_count()]
        missing += [name for name in kinds if table[name].dtype.is_float() and not table[name].is_finite().all()]
        missing += [name for name in columns if name not in found and table[name].null_count() < len(table)]
        reason = "values are missing" if len(table) else "no rows"
        if not missing and len(table):
            return table.select(list(kinds))
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
    raise DataError(_first_problem(path, found, kinds, separator, names, optional) or f"{path}: {reason}; {AGAIN}")


def _check_end(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 1))
        if stream.read() != b"\n":
            raise DataError(f"{path}: does not end with a line break: it was cut short, or is empty; {AGAIN}")


def _first_problem(
    path: Path,
    found: Sequence[str],
    kinds: Mapping[str, type[pl.DataType]],
    separator: str,
    names: bool,
    optional: Sequence[str],
) -> str:
    """What is wrong with the first bad line; slow, and only looked for where something is."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if number == 1 and names:
                continue
            values = line.removeprefix(_MARK).rstrip(b"\r\n").decode("utf-8", "replace").split(separator)
            if len(values) != len(found):
                return (
                    f"{path}, line {number}: {len(values)} fields, expected {len(found)} separated by {separator!r}; "
                    f"{AGAIN}"
                )
            for name, value in zip(found, values, strict=True):
                is_allowed = name not in kinds or (name in optional and not value)
                if not is_allowed and not _is_number(value, kinds[name]):
                    what = "number" if kinds[name]().is_float() else "whole number"
                    return f"{path}, line {number}, column {name!r}: {value!r} is no {what}; {AGAIN}"
    return ""


def _is_number(value: str, kind: type[pl.DataType]) -> bool:
    number = pl.Series([value], dtype=pl.String).cast(kind, strict=False)
    return not number.null_count() and bool(number.cast(pl.Float64).is_finite().all())
