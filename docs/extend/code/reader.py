"""A reader: songs.csv (song, title, singer) and plays.csv (listener, song, second) become a data
set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.reader import Reader, with_defaults_of


def load(
    *,
    root: str | None = None,
    text: str = "{title} | {singer}",
    half_lives_days: list[float] = [1.0, 7.0, 30.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Every play is a positive event; plays of songs that the table lacks stay, and are counted."""
    return SONGS.load(
        root=root,
        text=text,
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        cache=cache,
    )


@with_defaults_of(load)
def problems(**keys: Any) -> list[str]:
    """What keeps ``load`` with the same keys from starting, found without opening a file."""
    return SONGS.problems(**keys)


def find(root: Path) -> list[Path]:
    """The two files, or none."""
    files = [root / "songs.csv", root / "plays.csv"]
    return files if all(file.is_file() for file in files) else []


def read(files: Sequence[Path]) -> Tables:
    """The tables; ids are strings, also where they look like numbers."""
    songs, plays = files
    return assemble(
        pl.read_csv(plays, schema_overrides={"listener": pl.String, "song": pl.String}).select(
            user_id="listener", item_id="song", timestamp="second", label=pl.lit(1.0)
        ),
        pl.read_csv(songs, schema_overrides={"song": pl.String}).rename({"song": "item_id"}),
    )


SONGS = Reader(
    name="songs",
    domain="music",
    version=1,  # raise it when ``read`` reads a file differently
    fields=("title", "singer"),
    title="title",
    find=find,
    read=read,
    wanted="songs.csv and plays.csv",
    ways="Put both files into one folder.",
    repeats=True,
)
