"""Files whose lines are split at one character and at nothing else: no quoting, no escapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from os import SEEK_END
from pathlib import Path

import polars as pl

from coldlm.errors import DataError

ANEW = "the file is damaged or of another edition; get it anew"


def scan_fields(
    path: Path, names: Sequence[str], *, header: bool = False, separator: str = "\t", encoding: str = "utf-8"
) -> pl.LazyFrame:
    """The file's lines without quoting: ``line`` (its number in the file, from 1) and the fields ``names``, as strings.

    Quotes are characters like any other; an empty field is ""; lines may end with CR LF; a byte order mark is left out.
    The whole file is looked through once before anything is returned, at the memory of a few blocks.

    Args:
        header: the first line must hold exactly ``names``, and no other line may.

    Raises:
        DataError: an empty file, another encoding, NUL, a line with another number of fields, another header, or a
            last line without a line end (the file was cut off).
    """
    try:
        source = path if encoding == "utf-8" else BytesIO(path.read_bytes().decode(encoding).encode())
        # a separator that no text holds: every line is one field, whatever is in it
        lines = pl.scan_csv(
            source, has_header=False, separator="\x01", quote_char=None, schema={"text": pl.String}, glob=False,
            row_index_name="line", row_index_offset=1,
        ).with_columns(pl.col("text").fill_null(""))  # fmt: skip
        text, title = pl.col("text"), separator.join(names)
        wrong = (text.str.count_matches(separator, literal=True) != len(names) - 1) | text.str.contains(
            "\0", literal=True
        )
        if header:
            wrong = wrong | ((text == title) != (pl.col("line") == 1))
        n, first = lines.select(pl.len(), pl.col("line").filter(wrong).min()).collect(engine="streaming").row(0)
        found = "" if first is None else lines.filter(pl.col("line") == first).collect()["text"][0]
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        reason = _undecodable(path) or str(error).strip().splitlines()[0]
        raise DataError(f"{path}: cannot be read as lines of {encoding} text: {reason}; {ANEW}") from error
    if not n:
        raise DataError(f"{path}: the file is empty; {ANEW}")
    if first is not None:
        problem = f"{found.count(separator) + 1} fields separated by {separator!r}, expected {len(names)}"
        if "\0" in found:
            problem = "a NUL byte"
        elif header and (first == 1 or found == title):
            problem = "the header is missing or differs" if first == 1 else "the header once more"
        raise DataError(f"{path}, line {first}: {problem} ({', '.join(names)}); got {found[:80]!r}; {ANEW}")
    if path.suffix != ".gz" and not _ends_with_newline(path):
        raise DataError(
            f"{path}, line {n}: the last line has no line end, so the file may be cut off; get it anew or, if the line "
            f"is whole, end it"
        )
    split = text.str.split_exact(separator, len(names) - 1).struct.rename_fields(list(names))
    return lines.filter(pl.col("line") > int(header)).select("line", split.alias("fields")).unnest("fields")


def refuse_lines(path: Path, fields: pl.LazyFrame, rules: Mapping[str, tuple[pl.Expr, str]]) -> None:
    """Refuse the first line that breaks a rule.

    Args:
        fields: see ``scan_fields``.
        rules: column -> (whether its value is right; null counts as wrong, what it should be).
    """
    first = fields.select(
        pl.col("line").filter(~right.fill_null(False)).min().alias(name) for name, (right, _) in rules.items()
    ).collect(engine="streaming")
    lines = {name: line for name, line in first.row(0, named=True).items() if line is not None}
    if lines:
        name = min(lines, key=lambda name: lines[name])
        value = fields.filter(pl.col("line") == lines[name]).select(name).collect().item()
        raise DataError(
            f"{path}, line {lines[name]}, field {name!r}: got {value[:80]!r}, expected {rules[name][1]}; {ANEW}"
        )


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, SEEK_END)
        return stream.read(1) == b"\n"


def _undecodable(path: Path) -> str:
    """Where a file stops being UTF-8, "" if it does not: only for messages, it reads line by line."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number}, byte {error.start} is not UTF-8"
    return ""
