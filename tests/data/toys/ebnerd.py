"""Toy files of the reader ``ebnerd``, small enough to check by eye."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl


def at(seconds: int) -> datetime:
    return datetime(2023, 5, 18, 10) + timedelta(seconds=seconds)


ARTICLES = pl.DataFrame(
    {
        "article_id": [10, 11, 12],
        "title": ["Små grå", 'Den "store"', "Tredje"],
        "subtitle": ["Undertitel", "", None],
        "body": ["a\nb", "", ""],
        "category_str": ["sport", "nyheder", "nyheder"],
        "topics": [["Fodbold", "Sport"], [], None],
        "published_time": [at(-3600), at(-10), None],
        "total_inviews": [5, None, None],
    },
    schema_overrides={"article_id": pl.Int32, "published_time": pl.Datetime("us")},
)


def behaviors(rows: list[tuple[int, int, list[int] | None, list[int]]]) -> pl.DataFrame:
    users, times, shown, clicked = zip(*rows, strict=True)
    return pl.DataFrame(
        {
            "user_id": users,
            "impression_time": [at(t) for t in times],
            "article_ids_inview": shown,
            "article_ids_clicked": clicked,
        },
        schema={
            "user_id": pl.UInt32,
            "impression_time": pl.Datetime("us"),
            "article_ids_inview": pl.List(pl.Int32),
            "article_ids_clicked": pl.List(pl.Int32),
        },
    )


def history(rows: list[tuple[int, list[int], list[int]]]) -> pl.DataFrame:
    users, articles, times = zip(*rows, strict=True)
    return pl.DataFrame(
        {
            "user_id": users,
            "article_id_fixed": articles,
            "impression_time_fixed": [[at(t) for t in ts] for ts in times],
        },
        schema={
            "user_id": pl.UInt32,
            "article_id_fixed": pl.List(pl.Int32),
            "impression_time_fixed": pl.List(pl.Datetime("us")),
        },
    )


def write(root: Path) -> Path:
    folder = root / "ebnerd_small"
    for part in ("train", "validation"):
        (folder / part).mkdir(parents=True)
    ARTICLES.write_parquet(folder / "articles.parquet")
    behaviors([(7, 0, [10, 11], [11]), (8, 5, [11], [])]).write_parquet(
        folder / "train" / "behaviors.parquet"
    )
    history([(7, [10], [-500]), (8, [10, 11], [-400, 6])]).write_parquet(
        folder / "train" / "history.parquet"
    )
    # 13 was clicked but not seen, and has no article; both of user 7's clicks are one second's
    behaviors([(7, 100, [12, 10], [12, 13]), (7, 100, [12], [12])]).write_parquet(
        folder / "validation" / "behaviors.parquet"
    )
    # the first is in train's history too, the second is the click of 0, a moment later; 12 was read
    # before its click
    history([(7, [10, 11, 12], [-500, 3, 50])]).write_parquet(
        folder / "validation" / "history.parquet"
    )
    return root
