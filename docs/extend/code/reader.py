"""A reader: songs.csv (song, title, singer) and plays.csv (listener, song, second) become a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import assemble, to_dataset
from coldlm.data.canonical.template import template_problems
from coldlm.data.files.raw import refuse, time_scale_problems

FIELDS = ("title", "singer")
"""What a text template may name."""


def load(
    *,
    root: str | None = None,
    text: str = "{title} | {singer}",
    half_lives_days: list[float] = [1.0, 7.0, 30.0],  # noqa: B006  never changed
) -> Dataset:
    """Every play is a positive event; plays of songs that the table lacks stay, and are counted."""
    refuse(problems(root=root, text=text, half_lives_days=half_lives_days))
    songs, plays = find(Path(root or ""))
    tables = assemble(
        pl.read_csv(plays, schema_overrides={"listener": pl.String, "song": pl.String}).select(
            user_id="listener", item_id="song", timestamp="second", label=pl.lit(1.0)
        ),
        pl.read_csv(songs, schema_overrides={"song": pl.String}).rename({"song": "item_id"}),
    )
    return to_dataset(
        tables,
        name="songs",
        domain="music",
        text=text,
        title="title",
        repeats=True,
        release="after_first",
        half_lives_days=half_lives_days,
    )


def problems(
    *, root: str | None = None, text: str = "{title} | {singer}", half_lives_days: Sequence[float] = (1.0, 7.0, 30.0)
) -> list[str]:
    """What keeps ``load`` from starting, found without opening a file."""
    found = template_problems(text, FIELDS) + time_scale_problems(half_lives_days, None)
    if root is None or not find(Path(root)):
        found.append(
            f"dataset.root={root}: holds no songs.csv and plays.csv; put both files into one folder and name it"
        )
    return found


def find(root: Path) -> list[Path]:
    """The two files, or none."""
    files = [root / "songs.csv", root / "plays.csv"]
    return files if all(file.is_file() for file in files) else []
