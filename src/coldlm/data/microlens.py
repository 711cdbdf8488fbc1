"""MicroLens: comments on short videos of a Chinese platform, each an interaction; Westlake
University, for research.

| file | what it is |
|---|---|
| ``MicroLens-50k_pairs.csv``, ``MicroLens-100k_pairs.csv`` | ``user,item,timestamp`` |
| ``MicroLens-50k_titles.csv``, ``MicroLens-100k_title_en.csv`` or ``titles.csv`` | ``item,title`` |

The number is that of users. Titles are machine-translated captions with hashtags; a file of Chinese
ones in the same layout under the name ``titles.csv`` reads as well. The titles of 100k have no
header. Timestamps are milliseconds as published; seconds are read too, told apart by size
(100,000,000,000 and more are milliseconds, as seconds this would be the year 5138), and a file that
mixes both is refused. Videos have no release time: they enter after their first event. A file that
was cut short at the end of a line cannot be noticed: no number of rows was published with the
files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.files.fields import read_numbers, read_quoted, refuse_lines, to_numbers
from coldlm.data.files.raw import find_files, header, name_rows
from coldlm.data.files.times import MILLISECONDS_FROM

FIELDS: Final = ("title",)

BANNED: Final = {
    "likes": "counted when the data was collected",
    "views": "counted when the data was collected",
}

EARLIEST: Final = 1_293_840_000
"""2011: the platform is not older. A smaller time is a number of another column."""

Name = Literal["50k", "100k"]


def load(
    *,
    edition: Name = "50k",
    root: str | None = None,
    text: str = "{title}",
    half_lives_days: list[float] = [1.0, 7.0, 30.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return every line of the pairs is a positive event, at its second.

    Args:
        edition: "50k" or "100k" users.
        root: the data folder: it holds ``MicroLens-50k-Dataset/``, ``microlens_50k/``, or the files
            themselves.
        text: template over title.

    Left out and counted: lines that repeat user, video and time of an earlier one.

    Raises:
        DataError: see ``problems``; damaged files.
    """
    return reader(edition).load(
        root=root,
        text=text,
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        cache=cache,
    )


@with_defaults_of(load)
def problems(*, edition: Name, **keys: Any) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting, without opening a file; [] if
    nothing does."""
    return reader(edition).problems(**keys)


def reader(edition: Name) -> Reader:
    """Say what is special to an edition."""
    pairs, *titles = _names(edition)
    return Reader(
        name=f"microlens_{edition}",
        domain="video",
        version=1,
        fields=FIELDS,
        banned=BANNED,
        title="title",
        find=lambda root: find(root, edition),
        read=read,
        wanted=f"{pairs} beside {' or '.join(titles)}, neither itself nor in "
        f"{' or '.join(_folders(edition))}",
        ways=ways(edition),
    )


def ways(edition: Name) -> str:
    """Return where to get an edition and where to put it."""
    fetched = (
        "coldlm data fetch microlens_50k downloads it; or save " if edition == "50k" else "Save "
    )
    return (
        f"{fetched}{_names(edition)[0]} and the titles from "
        f"https://recsys.westlake.edu.cn/MicroLens-{edition}-Dataset/ in microlens_{edition}/ of "
        f"the data folder, and name that by COLDLM_DATA or dataset.root"
    )


def _folders(edition: Name) -> tuple[str, ...]:
    return (f"MicroLens-{edition}-Dataset", f"MicroLens-{edition}", f"microlens_{edition}")


def _names(edition: Name) -> tuple[str, ...]:
    """The pairs, and the names that the titles may have."""
    start = f"MicroLens-{edition}"
    return (f"{start}_pairs.csv", f"{start}_titles.csv", f"{start}_title_en.csv", "titles.csv")


def find(root: Path, edition: Name) -> list[Path]:
    """Return the pairs and the titles in ``root``; [] if one is missing."""
    pairs, *titles = _names(edition)
    return next(
        (found for name in titles if (found := find_files(root, _folders(edition), [pairs, name]))),
        [],
    )


def read(files: Sequence[Path]) -> Tables:
    """Pairs and titles. Videos and users in the order of their numbers."""
    pairs = read_numbers(files[0], {"user": pl.Int64, "item": pl.Int64, "timestamp": pl.Int64})
    once = pairs.with_row_index("event_id").unique(pairs.columns, keep="first", maintain_order=True)
    times = once["timestamp"]
    counts = {"repeated_lines": len(pairs) - len(once)}
    milliseconds = (times >= MILLISECONDS_FROM).to_numpy()
    odd = (times < EARLIEST).to_numpy() | (milliseconds != milliseconds[0])
    if odd.any():
        rows = np.zeros(len(pairs), np.bool_)
        rows[once["event_id"].to_numpy()[odd]] = True
        raise DataError(
            f"{files[0]}, column 'timestamp': {times[int(np.argmax(odd))]} in {name_rows(rows)}; "
            f"expected Unix seconds or milliseconds since 2011, the same in all rows"
        )
    if milliseconds.any():
        counts["timestamps_cut_to_seconds"] = int((times % 1_000 > 0).sum())
        times = times // 1_000
    titles = _titles(files[1])
    videos = once["item"].unique()
    if (known := int(videos.is_in(titles["item_id"].implode()).sum())) < len(videos) / 2:
        raise DataError(
            f"{files[0]}, line 1: only {known:,} of {len(videos):,} videos have a title in "
            f"{files[1].name}; are these "
            f"files of one edition, and users and items in their columns?"
        )
    return assemble(
        once.select("event_id", times, pl.lit(1.0).alias("label"), user_id="user", item_id="item"),
        titles.sort("item_id"),
        counts=counts,
    )


def _titles(path: Path) -> pl.DataFrame:
    first = header(path)
    table = read_quoted(
        path, ("item", "title"), names=not (len(first) == 2 and first[0].isdecimal())
    )
    titles = to_numbers(path, table, {"item": pl.Int64})
    refuse_lines(
        path,
        titles,
        {"item": (pl.col("item").is_first_distinct(), "every video once, it is here again")},
    )
    return titles.select(pl.col("item").alias("item_id"), "title").collect()
