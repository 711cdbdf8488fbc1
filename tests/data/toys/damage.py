"""Ways to damage raw files, by format: bytes -> bytes, always the same."""

from __future__ import annotations

import csv
import gzip
import io
import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

Mutation = Callable[[bytes], bytes | None]
"""None: the file has no place for it."""

Rows = list[list[str]]

# --- ways to damage any file ------------------------------------------------------------------------------------------


def lines_of(content: bytes) -> list[bytes]:
    """With their line breaks; a lone carriage return is none."""
    return re.findall(rb"[^\n]*\n|[^\n]+$", content)


def half(content: bytes) -> bytes:
    """Cut inside the line, or block, in the middle."""
    lines = lines_of(content)
    kept, middle = lines[: len(lines) // 2], lines[len(lines) // 2]
    return b"".join(kept) + middle[: len(middle) // 2]


ANY: dict[str, Mutation] = {
    "empty": lambda b: b"",
    "half of it": half,
    "a page of the server": lambda b: b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
    "another archive": lambda b: b"PK\x03\x04\x14\0\0\0\x08\0" + b[:40],
    "zeros at its end": lambda b: b[: len(b) * 3 // 4] + bytes(len(b) - len(b) * 3 // 4),
    "zeros at its start": lambda b: bytes(8) + b[8:],
}

# --- ways to damage text ----------------------------------------------------------------------------------------------


def at_line(place: Callable[[int], int], change: Callable[[bytes], bytes]) -> Mutation:
    """Change one line; ``place``: of how many lines which."""

    def mutate(content: bytes) -> bytes:
        lines = lines_of(content)
        which = place(len(lines))
        return b"".join([*lines[:which], change(lines[which]), *lines[which + 1 :]])

    return mutate


def last(n: int) -> int:
    return n - 1


def middle(n: int) -> int:
    return n // 2


def inside(line: bytes, what: bytes) -> bytes:
    """``what`` at a place of the line that the line itself draws."""
    end = len(line.rstrip(b"\r\n"))
    place = random.Random(line).randrange(1, max(2, end))
    return line[:place] + what + line[place:]


def open_quote(line: bytes) -> bytes:
    """At the start of the line's last field."""
    place = line.rindex(b",") + 1
    return line[:place] + b'"' + line[place:]


def cut_character(content: bytes) -> bytes | None:
    text = content.decode("utf-8", "replace")
    wide = [
        i
        for i, character in enumerate(text)
        if len(character.encode()) > 1 and character != "\ufffd"
    ]
    return text[: wide[-1] + 1].encode()[:-1] if wide else None


def other_line_ends(content: bytes) -> bytes:
    return (
        content.replace(b"\r\n", b"\n") if b"\r\n" in content else content.replace(b"\n", b"\r\n")
    )


TEXT: dict[str, Mutation] = ANY | {
    "the last line cut": at_line(last, lambda line: line[: len(line) // 2]),
    "a character cut": cut_character,
    "a byte order mark": lambda b: b"\xef\xbb\xbf" + b,
    "UTF-16": lambda b: b.decode("utf-8", "replace").encode("utf-16"),
    "line ends exchanged": other_line_ends,
    "line ends of old": lambda b: b.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
    "a NUL byte": at_line(middle, partial(inside, what=b"\0")),
    "a byte that is no text": at_line(last, partial(inside, what=b"\xff\xfe")),
    "two lines joined": at_line(middle, lambda line: line.rstrip(b"\r\n")),
    "the end once more": lambda b: b + lines_of(b)[-1][-9:],
    "packed": gzip.compress,
}

# --- ways to damage tables of text ------------------------------------------------------------------------------------


def delimiter(path: Path) -> str:
    if path.name in ("u.item", "u.user"):
        return "|"
    return {".csv": ","}.get(path.suffix) or ("::" if "ml-1m" in path.parts else "\t")


def rows_of(content: bytes, separator: str) -> list[list[str]]:
    lines = io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")
    if separator == ",":
        return list(csv.reader(lines))
    return [line.rstrip("\r\n").split(separator) for line in lines]


def text_of(rows: list[list[str]], separator: str) -> bytes:
    out = io.StringIO(newline="")
    if separator == ",":
        csv.writer(out, lineterminator="\n").writerows(rows)
    else:
        out.writelines(separator.join(row) + "\n" for row in rows)
    return out.getvalue().encode("utf-8", "surrogateescape")


def exchanged(rows: Rows, start: int = 0) -> Rows:
    """The first two columns."""
    return rows[:start] + [[row[1], row[0], *row[2:]] for row in rows[start:]]


TABLE: dict[str, Callable[[Rows], Rows]] = {
    "a field too few": lambda rows: [*rows[:-1], rows[-1][:-1]],
    "a field too many": lambda rows: [*rows[:-1], [*rows[-1], "9"]],
    "a line of names": lambda rows: [[f"name{n}" for n in range(len(rows[0]))], *rows],
    "columns exchanged": exchanged,
}

NAMED: dict[str, Callable[[Rows], Rows]] = {
    "columns exchanged under their names": lambda rows: exchanged(rows, 1),
    "the names twice": lambda rows: [rows[0], *rows],
    "the names once more": lambda rows: [*rows[:-1], rows[0], rows[-1]],
    "no names": lambda rows: rows[1:],
    "only names": lambda rows: rows[:1],
    "one name twice": lambda rows: [[rows[0][0], rows[0][0], *rows[0][2:]], *rows[1:]],
}


def table_mutations(path: Path, content: bytes) -> dict[str, Mutation]:
    separator = delimiter(path)
    has_names = (
        path.name.endswith(("csv", "dat", ".inter", ".item", ".user"))
        and content[:1].isalpha()
        and "ml-1m" not in path.parts
    )
    has_names = (has_names or "xMIND" in str(path)) and path.name != "Gift_Cards.csv"
    changes = TABLE | (NAMED if has_names else {})
    if (
        content.count(separator.encode(), 0, content.index(b"\n")) > 1
    ):  # two words may stand in any order
        changes["a field moved"] = lambda rows: [*rows[:-1], [*rows[-1][1:], rows[-1][0]]]

    def apply(change: Callable[[Rows], Rows], content: bytes) -> bytes:
        return text_of(change(rows_of(content, separator)), separator)

    other = b";" if separator != "\t" else b","
    return {
        "another delimiter": lambda b: b.replace(separator.encode(), other),
        **({"a quote that is not closed": at_line(middle, open_quote)} if separator == "," else {}),
        **{name: partial(apply, change) for name, change in changes.items()},
    }


OBJECTS: dict[str, Mutation] = {
    "a key renamed": lambda b: re.sub(rb'"(asin|parent_asin|time)":', b'"other":', b),
    "a number in quotes": at_line(last, lambda line: re.sub(rb'": ([\d.]+)', rb'": "\1"', line)),
    "a word without quotes": at_line(
        last, lambda line: re.sub(rb'("\w+"): "(\w+)"', rb"\1: \2", line)
    ),
    "a list": lambda b: b"[" + b.rstrip().replace(b"\n", b",\n") + b"]\n",
    "a bracket lost": at_line(middle, lambda line: line.replace(b"}", b"", 1)),
}

# --- ways to damage archives, parquet and sheets ----------------------------------------------------------------------

ARCHIVE: dict[str, Mutation] = ANY | {
    "not packed": gzip.decompress,
    "another check sum": lambda b: b[:-8] + bytes(4) + b[-4:],
    "another length": lambda b: b[:-4] + b"\1\2\3\4",
    "damaged inside": lambda b: b[: len(b) // 2] + bytes(6) + b[len(b) // 2 + 6 :],
    "packed twice": gzip.compress,
    "something behind it": lambda b: b + b"something",
    "in two parts": lambda b: (
        gzip.compress(gzip.decompress(b)[:50]) + gzip.compress(gzip.decompress(b)[50:])
    ),
}

Frames = dict[str, Callable[[pl.DataFrame], pl.DataFrame]]


def renamed(table: pl.DataFrame, *names: str) -> pl.DataFrame:
    return table.rename(dict(zip(table.columns, names, strict=False)))


FRAMES: Frames = {
    "a column renamed": lambda t: renamed(t, "other"),
    "columns exchanged": lambda t: t.select(t.columns[::-1]),
    "columns exchanged under their names": lambda t: renamed(t, t.columns[1], t.columns[0]),
    "a column lost": lambda t: t.drop(t.columns[0]),
    "ids of another type": lambda t: t.with_columns(pl.lit(2.5).alias(t.columns[0])),
    "an id missing": lambda t: t.with_columns(
        pl.when(pl.int_range(pl.len()) != pl.len() - 1).then(t.columns[0]).alias(t.columns[0])
    ),
    "no rows": lambda t: t.clear(),
}


def parquet(table: pl.DataFrame, **options: Any) -> bytes:
    stream = io.BytesIO()
    table.write_parquet(stream, **options)
    return stream.getvalue()


PARQUET: dict[str, Mutation] = ANY | {
    "its end cut": lambda b: b[:-4],
    "a table of text": lambda b: b"item_id,title\na,b\n",
    "zeros in the middle": lambda b: b[: len(b) // 4] + bytes(len(b) // 4) + b[len(b) // 4 * 2 :],
    "two row groups": lambda b: parquet(pl.read_parquet(b), row_group_size=1),
    "another compression": lambda b: parquet(pl.read_parquet(b), compression="gzip"),
    **{
        name: lambda b, change=change: parquet(change(pl.read_parquet(b)))  # type: ignore[misc]
        for name, change in FRAMES.items()
    },
}


def mutations(path: Path, content: bytes) -> dict[str, Mutation]:
    """All that the file's format knows, but for sheets."""
    if path.suffix == ".gz":
        inner = mutations(path.with_suffix(""), gzip.decompress(content))
        packed: dict[str, Mutation] = {
            f"{name}, packed": lambda b, change=change: (
                None  # type: ignore[misc]
                if (changed := change(gzip.decompress(b))) is None
                else gzip.compress(changed)
            )
            for name, change in inner.items()
        }
        return ARCHIVE | packed
    if ".parquet" in path.suffixes:
        return PARQUET
    if path.suffix in (".json", ".jsonl") or path.name.startswith("2017"):
        return TEXT | OBJECTS
    text = TEXT | table_mutations(path, content)
    if path.name == "u.item" or (path.suffix == ".dat" and path.name != "artists.dat"):
        del text["a byte that is no text"]  # in latin-1 every byte is a character
    return text


def swap(content: bytes, left: int, right: int) -> bytes:
    """A file of tabs with two columns in each other's place."""
    rows = [line.split(b"\t") for line in content.splitlines()]
    for row in rows:
        row[left], row[right] = row[right], row[left]
    return b"".join(b"\t".join(row) + b"\n" for row in rows)
