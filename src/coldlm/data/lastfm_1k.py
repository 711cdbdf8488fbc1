"""Last.fm-1K: 19,150,868 plays of 992 people, 2005 to 2009; Òscar Celma, with Last.fm's leave, not
for commercial use.

| file | what it holds |
|---|---|
| ``userid-timestamp-artid-artname-traid-traname.tsv`` | user, time, artist id and name, track id and name |

Tabs, no header, quotes without meaning; times as 2009-05-04T23:08:57Z. Ids are MusicBrainz's and
missing for many: such an artist goes by its name, "name:Sigur Rós", such a track by artist and
name. People play the same again and again: items repeat. The file has 2.5 GB; it is read in blocks,
and only users, items and times of the plays are held in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.canonical.template import fields
from coldlm.data.files.fields import refuse_lines, scan_fields
from coldlm.data.files.raw import find_files

FIELDS: Final = ("artist", "track")

COLUMNS: Final = ("user", "time", "artist_id", "artist", "track_id", "track")

FOLDER: Final = "lastfm-dataset-1K"

FILES: Final = ("userid-timestamp-artid-artname-traid-traname.tsv",)

COLLECTED_BY: Final = 1_262_304_000
"""2010, in Unix seconds: the data was published before, so later plays are those of a wrong
clock."""

Level = Literal["artist", "track"]

MBID: Final = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

WAYS: Final = (
    "coldlm data fetch lastfm_1k downloads "
    "http://mtg.upf.edu/static/datasets/last.fm/lastfm-dataset-1K.tar.gz (0.7 "
    "GB); by hand: unpack it into the data folder, where it makes lastfm-dataset-1K/, and name the "
    "data folder by COLDLM_DATA or dataset.root"
)


def load(
    *,
    root: str | None = None,
    level: Level = "artist",
    text: str = "{track} | {artist}",
    half_lives_days: list[float] = [1.0, 7.0, 30.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return every play is a positive event, at its second.

    Args:
        root: the data folder: it holds ``lastfm-dataset-1K/``, or the file itself.
        level: whether items are artists or tracks.
        text: template over artist and track; artists have no {track}, so the default is their name.

    An item's text is what it was called when it was first played. Left out and counted: plays dated
    2010 or later, plays without artist (or track, where tracks are the items), and a user's further
    plays of an item in one second.

    Raises:
        DataError: see ``problems``; a damaged file, with the line.
    """
    return reader(level).load(
        root=root,
        text=text,
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        cache=cache,
    )


@with_defaults_of(load)
def problems(*, level: Level, **keys: Any) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting, without opening a file; [] if
    nothing does."""
    return reader(level).problems(**keys)


def reader(level: Level) -> Reader:
    """Say what is special to this data set, with items of that level."""
    return Reader(
        name=f"lastfm_1k_{level}",
        domain="music",
        version=1,
        fields=FIELDS,
        title=level,
        find=find,
        read=lambda files: read(files, level),
        wanted=f"{FILES[0]}, nor does {FOLDER}/ in it",
        ways=WAYS,
        repeats=True,
        further=lambda text, _: _artist_problems(text) if level == "artist" else [],
    )


def _artist_problems(text: str) -> list[str]:
    """What is wrong with a template for artists: it would leave all of them without a text."""
    if "track" not in fields(text) or "artist" in fields(text):
        return []
    return [
        f"dataset.text={text!r}: artists have no {{track}}; write {{artist}}, or set "
        "dataset.level=track"
    ]


def find(root: Path) -> list[Path]:
    """Return the file, in its folder or in ``root`` itself; [] if it is in neither."""
    return find_files(root, [FOLDER], FILES)


def read(files: Sequence[Path], level: str) -> Tables:
    """Return the plays, with items of that level. Lines are looked through three times: for damage,
    for names, for plays."""
    (path,) = files
    lines = scan_fields(path, COLUMNS)
    seconds = pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", strict=False).dt.epoch("s")
    rules = {
        "user": (pl.col("user").str.contains(r"^user_\d+$"), "user_ and a number"),
        "time": (seconds >= 0, "a time such as 2009-05-04T23:08:57Z"),
    }
    refuse_lines(path, lines, rules)
    track = pl.lit("") if level == "artist" else pl.col("track")
    plays = lines.select(
        "line",
        "artist",
        user_id="user",
        item_id=_key(level),
        timestamp=seconds,
        track=track,
        artist_id="artist_id",
    )
    counts = _count(path, plays)
    kept = plays.filter(pl.col("item_id").is_not_null() & (pl.col("timestamp") < COLLECTED_BY))
    names = (
        kept.group_by("item_id", "artist", "track")
        .agg(pl.col("timestamp").min())
        .collect(engine="streaming")
    )
    items = names.sort("item_id", "timestamp", "artist", "track").unique(
        "item_id", keep="first", maintain_order=True
    )
    counts["further_names_of_an_item"] = len(names) - len(items)
    # joined by number and named again at the end: 19 million copies of one id then share its memory
    number = items.select("item_id").with_row_index("item").lazy()
    numbered = kept.join(number, on="item_id").select("line", "user_id", "item", "timestamp")
    events = numbered.collect(engine="streaming").sort("line")
    once = events.unique(["user_id", "item", "timestamp"], keep="first", maintain_order=True)
    counts["repeated_lines"] = len(events) - len(once)
    named = once.with_columns(
        item_id=items["item_id"].gather(once["item"]), label=pl.lit(1.0), event_id="line"
    )
    return assemble(
        named.drop("item", "line"),
        items.select("item_id", "artist", "track"),
        counts=counts,
    )


def _key(level: str) -> pl.Expr:
    """The item's id, null without any; a tab cannot be in a name, so "name:" keys of tracks never
    coincide."""
    artist, track = pl.col("artist"), pl.col("track")
    name = artist if level == "artist" else artist + pl.lit("\t") + track
    given = pl.col(f"{level}_id")
    is_named = (pl.col(level) != "") & (artist != "")
    return pl.when(given != "").then(given).when(is_named).then(pl.lit("name:") + name)


def _count(path: Path, plays: pl.LazyFrame) -> dict[str, int]:
    """What the policies touch.

    Raises:
        DataError: most artist ids are none of MusicBrainz's, so ids and names changed places.
    """
    item, late = pl.col("item_id"), pl.col("timestamp") >= COLLECTED_BY
    given = pl.col("artist_id") != ""
    found = plays.select(
        plays_of_no_item=item.is_null().sum(),
        plays_dated_2010_or_later=(item.is_not_null() & late).sum(),
        plays_of_items_without_id=(item.str.starts_with("name:") & ~late).sum(),
        given=given.sum(),
        good=(given & pl.col("artist_id").str.contains(MBID)).sum(),
    ).collect(engine="streaming")
    counts = {name: int(value or 0) for name, value in found.row(0, named=True).items()}
    given_ids, good = counts.pop("given"), counts.pop("good")
    if good * 2 < given_ids:
        raise DataError(
            f"{path}, line 1: {given_ids - good:,} of {given_ids:,} artist ids are none of "
            f"MusicBrainz's; expected the columns {', '.join(COLUMNS)}, in this order"
        )
    return counts
