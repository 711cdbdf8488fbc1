"""A reading room: 600 loans of 60 books by 40 readers within 60 days, half of the titles English
and half Chinese.

Made up by ``make_files.py``, which lies beside this package's pyproject.toml; small enough to come
with it.

| file | columns |
|---|---|
| ``books.csv`` | book, title, subject, acquired (a date) |
| ``loans.csv`` | reader, book, seconds (Unix) |

A book becomes a candidate on the day on which it was acquired, read or not. Nobody borrows a book
twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.files.fields import refuse_lines, scan_fields
from coldlm.data.files.raw import find_files

FILES = ("books.csv", "loans.csv")

HERE = Path(__file__).parent / "files"


def load(
    *,
    root: str | None = None,
    text: str = "{title} | {subject}",
    half_lives_days: list[float] = [1.0, 7.0, 30.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Every loan is a positive event, at its second.

    Args:
        root: a folder with files of this form; null: those that come with the package.
        text: template over title and subject.

    Raises:
        DataError: see ``problems``; a damaged file, with the line.
    """
    return reader().load(
        root=root or str(HERE),
        text=text,
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        cache=cache,
    )


@with_defaults_of(load)
def problems(*, root: str | None, **keys: Any) -> list[str]:
    """What keeps ``load`` with the same keys from starting, without opening a file; [] if nothing
    does."""
    return reader().problems(root=root or str(HERE), **keys)


def reader() -> Reader:
    """Say what is special to this data set; the rest is the same for all."""
    return Reader(
        name="example",
        domain="books",
        version=1,
        fields=("title", "subject"),
        title="title",
        release="field",
        find=lambda root: find_files(root, [], FILES),
        read=read,
        wanted=" and ".join(FILES),
        ways="dataset.root=null reads the files that come with coldlm_example",
    )


def read(files: Sequence[Path]) -> Tables:
    """The books and the loans, refused with the line where a number or a date is none."""
    books, loans = (
        scan_fields(file, names, header=True, separator=",")
        for file, names in zip(
            files,
            [("book", "title", "subject", "acquired"), ("reader", "book", "seconds")],
            strict=True,
        )
    )
    day = pl.col("acquired").str.to_date("%Y-%m-%d", strict=False)
    seconds = pl.col("seconds").cast(pl.Int64, strict=False)
    refuse_lines(files[0], books, {"acquired": (day.is_not_null(), "a date such as 2026-01-31")})
    refuse_lines(
        files[1],
        loans,
        {"seconds": (seconds.is_between(1_000_000_000, 4_000_000_000), "Unix seconds")},
    )
    midnight = day.cast(pl.Datetime("us")).dt.epoch("s")
    return assemble(
        loans.select(
            user_id="reader", item_id="book", timestamp=seconds, label=pl.lit(1.0)
        ).collect(),
        books.select("title", "subject", item_id="book", released_at=midnight).collect(),
    )
