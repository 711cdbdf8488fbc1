"""HetRec Last.fm-2k: what 1,892 people tagged on Last.fm, 2005 to 2011; GroupLens, not for
commercial use.

| file | what it holds |
|---|---|
| ``artists.dat`` | id, name, url, pictureURL; UTF-8 |
| ``tags.dat`` | tagID, tagValue; latin-1 |
| ``user_taggedartists.dat`` | userID, artistID, tagID, day, month, year; all days are the first of a month |
| ``user_taggedartists-timestamps.dat`` | the same with a time in milliseconds; read where the former is missing |

Tabs, a header, quotes without meaning; most lines end with CR LF. The published play counts carry
no time, so an event is the *first tag* that a person gave an artist: it happens once, hence
``repeats`` is False, unlike in listening. Time is known to the month. An artist's tags are those
given so far, by anybody: all of them together would tell the future. Five tags are dated before
there was a Last.fm to tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.dated import DatedField
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.files.fields import refuse_lines, scan_fields
from coldlm.data.files.raw import find_files

FIELDS: Final = ("name", "tags")

FOLDER: Final = "hetrec2011-lastfm-2k"

FILES: Final = (
    "artists.dat",
    "tags.dat",
    "user_taggedartists.dat",
    "user_taggedartists-timestamps.dat",
)
"""The third or the fourth is enough."""

FIRST_MONTH: Final = 1_104_537_600 - 86_400
"""2005, in Unix seconds; a day less, because the milliseconds are those of midnight in some zone
east of Greenwich."""

N_USERS: Final = 1_892

TAGS: Final = DatedField(limit=5, at_entry=False)

WAYS: Final = (
    "coldlm data fetch lastfm_2k downloads "
    "https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip; "
    "by hand: unpack it into hetrec2011-lastfm-2k/ of the data folder, and name that by "
    "COLDLM_DATA or dataset.root"
)


def load(
    *,
    root: str | None = None,
    text: str = "{name} | {tags}",
    half_lives_days: list[float] = [30.0, 180.0, 720.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return the first tag of a person for an artist is a positive event, at the start of its
    month.

    Args:
        root: the data folder: it holds ``hetrec2011-lastfm-2k/``, or the files themselves.
        text: template over name and tags, the five most frequent so far.

    Left out and counted: tags dated before 2005, and a person's further tags for an artist (they
    still count among the artist's tags). A flipped digit that leaves a valid id or month is not
    noticed.

    Raises:
        DataError: see ``problems``; files that are damaged, with the line.
    """
    return reader().load(
        root=root,
        text=text,
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        cache=cache,
    )


@with_defaults_of(load)
def problems(**keys: Any) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting, without opening a file; [] if
    nothing does."""
    return reader().problems(**keys)


def reader() -> Reader:
    """Say what is special to this data set."""
    return Reader(
        name="lastfm_2k",
        domain="music",
        version=1,
        fields=FIELDS,
        title="name",
        find=find,
        read=read,
        wanted=f"{', '.join(FILES[:3])}, nor does {FOLDER}/ in it",
        ways=WAYS,
        dated={"tags": TAGS},
    )


def find(root: Path) -> list[Path]:
    """Artists, tags and who tagged what; [] unless all three are there."""
    found = find_files(root, [FOLDER], FILES[:2], FILES[2:])
    return found[:3] if len(found) > 2 else []


def read(files: Sequence[Path]) -> Tables:
    """First tags as events, all tags as dated values."""
    artists, tags, tagged = files
    rows = _read_tagged(tagged)
    if (n_users := rows["user_id"].n_unique()) > N_USERS:
        raise DataError(
            f"{tagged}, line 1: {n_users:,} users, {N_USERS:,} were published; are columns "
            "exchanged?"
        )
    valid = rows.filter(pl.col("timestamp") >= FIRST_MONTH)
    first = valid.sort("timestamp", "line").unique(
        ["user_id", "item_id"], keep="first", maintain_order=True
    )
    names = _read_names(tags, ("tagID", "tagValue"), latin_1=True).rename(
        {"tagID": "tag", "tagValue": "value"}
    )
    dated = valid.join(names, on="tag", how="left", maintain_order="left")
    catalogue = _read_names(artists, ("id", "name", "url", "pictureURL"))
    return assemble(
        first.select("user_id", "item_id", "timestamp", label=pl.lit(1.0), event_id="line"),
        catalogue.select(item_id="id", name="name"),
        dated=dated.drop_nulls("value").select(
            "item_id", "timestamp", "value", field=pl.lit("tags")
        ),
        counts={
            "tags_dated_before_2005": len(rows) - len(valid),
            "further_tags_of_a_user_and_artist": len(valid) - len(first),
            "tags_without_a_name": dated["value"].null_count(),
        },
    )


def _read_names(path: Path, columns: Sequence[str], latin_1: bool = False) -> pl.DataFrame:
    fields = scan_fields(path, columns, header=True, latin_1=latin_1)
    refuse_lines(
        path,
        fields,
        {columns[0]: (_is_id(columns[0]) & pl.col(columns[0]).is_first_distinct(), "a new number")},
    )
    return fields.drop("line").collect()


def _read_tagged(path: Path) -> pl.DataFrame:
    """``line``, ``user_id``, ``item_id``, ``tag`` and ``timestamp``, whichever of the two files it
    is."""
    in_ms = path.name == FILES[3]
    times = ("timestamp",) if in_ms else ("day", "month", "year")
    fields = scan_fields(path, ("userID", "artistID", "tagID", *times), header=True)
    if in_ms:
        seconds = pl.col("timestamp").cast(pl.Int64, strict=False) // 1000
        # as seconds, the published milliseconds would all be long past the year 2100
        rules = {"timestamp": (seconds.is_between(-(2**31), 2**32), "milliseconds since 1970")}
    else:
        day = pl.format("{}-{}-{}", "year", "month", "day").str.to_date("%Y-%m-%d", strict=False)
        seconds = day.cast(pl.Datetime("us")).dt.epoch("s")
        rules = {
            "year": (
                day.dt.year().is_between(1900, 2100),
                "a day, a month and a year that make a date",
            )
        }
    rules |= {name: (_is_id(name), "a number") for name in ("userID", "artistID", "tagID")}
    refuse_lines(path, fields, rules)
    return fields.select(
        "line", user_id="userID", item_id="artistID", tag="tagID", timestamp=seconds
    ).collect()


def _is_id(name: str) -> pl.Expr:
    return pl.col(name).str.contains(r"^\d+$")
