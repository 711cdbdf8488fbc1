"""Adressa: what readers of the Norwegian paper Adresseavisen opened in the first week of 2017;
NTNU, for research.

| file | what it holds |
|---|---|
| ``one_week/20170101`` and so on | one page view a line, as JSON |

A view has userId and time (Unix seconds); that of an article also id, title, publishtime, category1
and keywords. Views of the front page and of sections lack ``id`` and are no events. There are no
lists of what was shown. Nothing says that a title was changed: an article has the texts with which
it was seen first. ``publishtime`` is its release; where it is missing, the article is a candidate
after its first view.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.files.fields import refuse_lines
from coldlm.data.files.lines import read_objects

FIELDS: Final = ("title", "category", "keywords")

FOLDER: Final = "one_week"

FILES: Final = "20*"

SCHEMA: Final = {
    "userId": pl.String, "id": pl.String, "time": pl.Int64, "title": pl.String, "publishtime": pl.String,
    "category1": pl.String, "keywords": pl.String,
}  # fmt: skip

WAYS: Final = (
    "coldlm data fetch adressa downloads https://reclab.idi.ntnu.no/dataset/one_week.tar.gz; by "
    "hand: unpack it into "
    "the data folder, where it makes one_week/, and name the data folder by COLDLM_DATA or "
    "dataset.root"
)


def load(
    *,
    root: str | None = None,
    text: str = "{title}",
    half_lives_days: list[float] = [0.25, 1.0, 7.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return every view of a news article is a positive event, at its second.

    Args:
        root: the data folder: it holds ``one_week/``, itself or in ``adressa/``, or the files of
            the days.
        text: template over title, category ("nyheter, trondheim"), keywords.
        item_ttl_days: how long an article stays a candidate after it was published.

    Left out and counted: views of other pages, views without a user, and a user's further views of
    an article in one second. Release times that cannot be read count as unknown.

    Raises:
        DataError: see ``problems``; a line that is no JSON object or has values of another type.
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
        name="adressa",
        domain="news",
        version=1,
        fields=FIELDS,
        title="title",
        find=find,
        read=read,
        wanted=f"files of days such as {FOLDER}/20170101",
        ways=WAYS,
        release="field",
    )


def find(root: Path) -> list[Path]:
    """Return the files of the days, in their order: those of the first folder that has some."""
    for folder in (root / "adressa" / FOLDER, root / FOLDER, root):
        if found := sorted(file for file in folder.glob(FILES) if file.is_file()):
            return found
    return []


def read(files: Sequence[Path]) -> Tables:
    """Return the views of articles, in the order of files and lines."""
    views = pl.concat([_read_day(path) for path in files]).with_row_index("event_id")
    news = views.filter(pl.col("id").fill_null("") != "")
    known = news.filter(pl.col("userId").fill_null("") != "").rename(
        {"userId": "user_id", "id": "item_id"}
    )
    once = known.unique(["user_id", "item_id", "time"], keep="first", maintain_order=True)
    items, counts = _articles(known)
    return assemble(
        once.select("event_id", "user_id", "item_id", timestamp="time", label=pl.lit(1.0)),
        items,
        counts={
            "views_of_other_pages": len(views) - len(news),
            "views_without_a_user": len(news) - len(known),
            "repeated_views": len(known) - len(once),
            **counts,
        },
    )


def _articles(views: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """One row per article: of every field the value seen first, and the first release time
    stated."""
    release = (
        pl.col("publishtime").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", strict=False).dt.epoch("s")
    )
    texts = {"title": "title", "category": "category1", "keywords": "keywords"}
    seen = views.sort("time", "event_id").with_columns(
        pl.col("category1").str.replace_all("|", ", ", literal=True), released_at=release
    )
    first = {ours: pl.col(theirs).replace("", None).drop_nulls() for ours, theirs in texts.items()}
    items = (
        seen.group_by("item_id")
        .agg(
            **{ours: values.first() for ours, values in first.items()},
            released_at=pl.col("released_at").drop_nulls().first(),
            titles=first["title"].n_unique(),
        )
        .sort("item_id")
    )
    counts = {
        "items_with_several_titles": int((items["titles"] > 1).sum()),
        "views_with_an_unreadable_release_time": seen.filter(
            pl.col("publishtime").is_not_null() & pl.col("released_at").is_null()
        ).height,
    }
    return items.drop("titles"), counts


def _read_day(path: Path) -> pl.DataFrame:
    views = read_objects(path, SCHEMA)
    refuse_lines(
        path,
        views,
        {"time": (pl.col("time").is_between(1_000_000_000, 2_000_000_000), "Unix seconds")},
    )
    return views.drop("line")
