"""Tables in text files, plain, ``.gz`` or ``.zst``, read strictly: damage is refused with its line, never
read as less.

| function | for | quotes |
|---|---|---|
| ``scan_fields`` | any number of lines split at one separator, streamed | characters, or refused |
| ``read_numbers`` | millions of rows of numbers, fast | refused |
| ``read_quoted`` | texts, some thousands of rows up to a few millions | as in a csv; fields may hold line breaks |
| ``read_text`` | all columns of a csv in any encoding, between any separator | as in a csv |
| ``read_table`` | all columns of a csv or parquet file that is not known beforehand | as in a csv |

``scan_fields`` and ``read_quoted`` give strings, and with each row its line in the file, so that
``refuse_lines`` and ``to_numbers`` can say where a value is wrong. Everything must end with a line
break, see ``lines.check_whole``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path

import polars as pl

from coldlm.core.errors import DataError
from coldlm.data.files.lines import (
    AGAIN,
    NO_ROWS,
    WIDE,
    check_whole,
    csv_rows,
    refuse_file,
    text_lines,
)
from coldlm.data.files.raw import header as read_header
from coldlm.data.files.raw import read_parquet

Kinds = Mapping[str, type[pl.DataType]]

BLOCK = 100_000
"""Rows."""

NUMBER = "\0line"
"""What the lines of rows are called where columns may have any name: no file holds a NUL."""


def scan_fields(
    path: Path,
    names: Sequence[str],
    *,
    header: bool = False,
    separator: str = "\t",
    latin_1: bool = False,
    number: str = "line",
) -> pl.LazyFrame:
    """Return the file's lines: ``line`` (its number in the file, from 1) and the fields ``names``,
    as strings.

    An empty field is ""; lines may end with CR LF; a byte order mark is left out. Quotes are
    characters like any other, but between commas, where other programs take them for something
    else, they and lone carriage returns are refused. The whole file is looked through once before
    anything is returned, at the memory of a few blocks.

    Args:
        header: the first line must hold exactly ``names``, and no other line may. Where columns may
            come in any order, ``names`` are those of ``raw.header``.
        latin_1: a file that is not UTF-8 is in latin-1; it is held in memory.
        number: what ``line`` is to be called, where a field is called so.

    Raises:
        DataError: see ``lines.text_lines`` and ``check_whole``; a line with another number of
            fields, another header, a quote between commas, no rows.
    """
    check_whole(path)
    text, title = pl.col("text"), separator.join(names)
    strays = {'"': "a quote", "\r": "a carriage return"} if separator == "," else {}
    wrong = text.str.count_matches(separator, literal=True) != len(names) - 1
    for character in strays:
        wrong |= text.str.contains(character, literal=True)
    if header:
        wrong |= (text == title) != (pl.col(number) == 1)
    try:
        # a separator that no text may hold: every line is one field, whatever else is in it
        lines = pl.scan_csv(
            _recoded(path) if latin_1 else path, has_header=False, separator="\0", quote_char=None, glob=False,
            schema={"text": pl.String}, row_index_name=number, row_index_offset=1,
        ).with_columns(pl.col("text").fill_null(""))  # fmt: skip
        n, first = (
            lines.select(pl.len(), pl.col(number).filter(wrong).min())
            .collect(engine="streaming")
            .row(0)
        )
        found = "" if first is None else lines.filter(pl.col(number) == first).collect()["text"][0]
    except (pl.exceptions.PolarsError, OSError) as error:
        refuse_file(path, "lines of text", error, "latin-1" if latin_1 else "utf-8")
    if first is not None:
        problem = _wrong_count(found.count(separator) + 1, names, separator)
        if header and (first == 1 or found == title):
            problem = "the header is missing or differs" if first == 1 else "the header once more"
        problem = next((name for character, name in strays.items() if character in found), problem)
        raise DataError(
            f"{path}, line {first}: {problem} ({', '.join(names)}); got {found[:80]!r}; {AGAIN}"
        )
    if n <= header:
        raise DataError(f"{path}: {NO_ROWS}")
    split = text.str.split_exact(separator, len(names) - 1).struct.rename_fields(list(names))
    return (
        lines.filter(pl.col(number) > int(header))
        .select(number, split.alias("fields"))
        .unnest("fields")
    )


def read_quoted(
    path: Path,
    needed: Sequence[str],
    *,
    errors: str = "strict",
    names: bool = True,
    encoding: str = "utf-8",
    separator: str = ",",
    found: Sequence[str] = (),
    number: str = "line",
) -> pl.DataFrame:
    """Return the columns ``needed`` of a csv as strings, "" where empty, and ``line``, where each
    row ends in the file.

    Args:
        errors: "replace" reads characters that are not UTF-8 as "�".
        names: whether the first line names the columns; without names they are those of ``needed``,
            in this order.
        found: those of the first line, where they are known already.
        number: what ``line`` is to be called, where a column is called so.

    Raises:
        DataError: see ``lines.csv_rows`` and ``check_whole``; a column that is missing or there
            twice, a row with another number of fields, no rows.
    """
    check_whole(path, line_break=encoding not in WIDE)
    found = list(found) or (read_header(path, needed) if names else list(needed))
    places = [found.index(name) for name in needed]
    schema = {number: pl.Int64, **dict.fromkeys(needed, pl.String)}
    read = csv_rows(path, errors=errors, encoding=encoding, separator=separator)
    rows, parts = islice(read, int(names), None), []
    while block := list(
        islice(rows, BLOCK)
    ):  # in blocks: as Python's strings all of them would take ten times the room
        for line, row in block:
            if len(row) != len(found):
                raise DataError(
                    f"{path}, line {line}: {_wrong_count(len(row), found, separator)}; {AGAIN}"
                )
            if names and row == found:
                raise DataError(f"{path}, line {line}: the header once more; {AGAIN}")
        picked = [(line, *(row[place] for place in places)) for line, row in block]
        parts.append(pl.DataFrame(picked, schema=schema, orient="row"))
    if not parts:
        raise DataError(f"{path}: {NO_ROWS}")
    return pl.concat(parts)


def read_table(path: Path) -> pl.DataFrame:
    """Return all columns of a csv or parquet file. Those of a csv are strings, never stripped;
    empty fields are null.

    Raises:
        DataError: see ``raw.header``, ``raw.read_parquet``, ``scan_fields`` and ``read_quoted``.
    """
    names = read_header(path)
    if path.suffix.lower() == ".parquet":
        return read_parquet(path, names)
    return read_text(path, names).drop(NUMBER)


def read_text(
    path: Path, names: Sequence[str], *, encoding: str = "utf-8", separator: str = ","
) -> pl.DataFrame:
    """Return ``NUMBER``, where each row ends in the file, and the columns ``names``, which its first
    line holds, as strings, never stripped; empty fields are null.

    Raises:
        DataError: see ``scan_fields`` and ``read_quoted``.
    """
    plain = encoding == "utf-8" and not any('"' in line for line in text_lines(path))
    if plain:
        table = scan_fields(path, names, header=True, separator=separator, number=NUMBER).collect()
    else:
        table = read_quoted(
            path, names, encoding=encoding, separator=separator, found=names, number=NUMBER
        )
    return table.with_columns(pl.col(list(names)).replace("", None))


def refuse_lines(
    path: Path, fields: pl.LazyFrame | pl.DataFrame, rules: Mapping[str, tuple[pl.Expr, str]]
) -> None:
    """Refuse the first line that breaks a rule.

    Args:
        fields: columns, and ``line``.
        rules: column -> (whether its value is right; null counts as wrong, what it should be).

    Raises:
        DataError: with file, line, column, the value, and what was expected.
    """
    fields = fields.lazy()
    first = fields.select(
        pl.col("line").filter(~right.fill_null(False)).min().alias(name)
        for name, (right, _) in rules.items()
    ).collect(engine="streaming")
    lines = {name: line for name, line in first.row(0, named=True).items() if line is not None}
    if lines:
        name = min(lines, key=lambda name: lines[name])
        value = fields.filter(pl.col("line") == lines[name]).select(name).collect().item()
        got = (
            "nothing"
            if value in (None, "")
            else repr(value[:80] if isinstance(value, str) else value)
        )
        raise DataError(
            f"{path}, line {lines[name]}, column {name!r}: {got}; expected {rules[name][1]}; "
            f"{AGAIN}"
        )


def to_numbers(
    path: Path, fields: pl.LazyFrame | pl.DataFrame, kinds: Kinds, optional: Sequence[str] = ()
) -> pl.LazyFrame:
    """Return ``fields`` with the columns ``kinds`` in the types given.

    Args:
        optional: columns that may be empty (null).

    Raises:
        DataError: a value that is no (finite) number, with its line.
    """
    rules = {}
    for name, kind in kinds.items():
        number = pl.col(name).cast(kind, strict=False)
        is_float = kind().is_float()
        right = number.is_finite() if is_float else number.is_not_null()
        empty = pl.col(name) == "" if name in optional else pl.lit(False)
        rules[name] = (right | empty, "a number" if is_float else "a whole number")
    refuse_lines(path, fields, rules)
    return fields.lazy().with_columns(
        pl.col(name).cast(kind, strict=False) for name, kind in kinds.items()
    )


def read_numbers(
    path: Path,
    kinds: Kinds,
    *,
    separator: str = ",",
    names: bool = True,
    optional: Sequence[str] = (),
) -> pl.DataFrame:
    """Return the columns in ``kinds`` of a large table of numbers, in the types given.

    Args:
        separator: one character, or one character twice.
        names: whether the first line names the columns; without names the columns are those of
            ``kinds``.
        optional: columns that may be empty (null); the others may not.

    Raises:
        DataError: see ``scan_fields`` and ``to_numbers``; a column that is missing or there twice.
    """
    check_whole(path)
    found = read_header(path, list(kinds)) if names else list(kinds)
    columns = found
    if len(separator) == 2:  # read as one character with an empty column between any two
        columns = [part for name in found for part in (name, f"after {name}")][:-1]
    trouble: Exception = DataError("values are missing")
    try:
        # all columns: with fewer, a row that has too many fields would pass
        table = pl.read_csv(
            path,
            has_header=names,
            separator=separator[0],
            quote_char=None,
            schema={name: kinds.get(name, pl.String) for name in columns},
            glob=False,
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        trouble = error
    else:
        beside = [name for name in columns if name not in found]
        if len(table) and not _is_damaged(table, kinds, optional, beside):
            return table.select(list(kinds))
    # slower, but names the line
    to_numbers(path, scan_fields(path, found, header=names, separator=separator), kinds, optional)
    refuse_file(path, "numbers", trouble)


def _is_damaged(
    table: pl.DataFrame, kinds: Kinds, optional: Sequence[str], empty: Sequence[str]
) -> bool:
    """Whether a column of ``kinds`` lacks a number, or one of ``empty`` holds anything."""
    return (
        any(table[name].null_count() for name in kinds if name not in optional)
        or any(table[name].dtype.is_float() and not table[name].is_finite().all() for name in kinds)
        or any(table[name].null_count() < len(table) for name in empty)
    )


def _wrong_count(found: int, names: Sequence[str], separator: str) -> str:
    hint = "; quote fields that hold commas" if separator == "," and found > len(names) else ""
    return f"{found} fields, expected {len(names)} separated by {separator!r}{hint}"


def _recoded(path: Path) -> BytesIO:
    try:
        return BytesIO("".join(text_lines(path)).encode())
    except DataError:
        return BytesIO("".join(text_lines(path, encoding="latin-1")).encode())
