"""Caixin: 84,657 clicks of 9,235 readers on 2,305 Chinese news, March 2014; data of a contest, no
licence stated.

| file | what it holds |
|---|---|
| ``clicks.tsv`` | user, news, Unix seconds, headline, day of the month; tabs, no header, quotes without meaning |

Only clicks, nothing of what was shown and not clicked. Every line may stand there several times.
Some readers come back to a news item: that is revealed to histories, but not asked for. There is no
publication time: an item becomes a candidate after its first click, and what a model does with an
item that nobody has clicked cannot be measured. The catalogue holds what was clicked, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.files.fields import refuse_lines, scan_fields
from coldlm.data.files.raw import find_files

FIELDS: Final = ("headline",)

COLUMNS: Final = ("user", "news", "seconds", "headline", "day")

FOLDER: Final = "caixin_news"

FILES: Final = ("clicks.tsv",)

WAYS: Final = (
    "It has no public address to download from: put clicks.tsv (user, news, Unix seconds, "
    "headline, day; tabs, no "
    "header) into caixin_news/ of the data folder, and name that by COLDLM_DATA or dataset.root. "
    "Other Chinese news: "
    "dataset=news/mind with dataset.language=cmn; a made-up world: dataset=simulated "
    "dataset.language=zh"
)


def load(
    *,
    root: str | None = None,
    text: str = "{headline}",
    half_lives_days: list[float] = [0.25, 1.0, 7.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return every click is a positive event, at its second.

    Args:
        root: the data folder: it holds ``caixin_news/clicks.tsv``, or the file itself.
        text: template over headline.
        item_ttl_days: how long a news item stays a candidate after its first click.

    Left out and counted: lines that repeat an earlier one in all fields.

    Raises:
        DataError: see ``problems``; a damaged file, with the line.
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
        name="caixin",
        domain="news",
        version=1,
        fields=FIELDS,
        title="headline",
        find=find,
        read=read,
        wanted=f"{FILES[0]}, nor does {FOLDER}/ in it",
        ways=WAYS,
    )


def find(root: Path) -> list[Path]:
    """Return the file, in its folder or in ``root`` itself; [] if it is in neither."""
    return find_files(root, [FOLDER], FILES)


def read(files: Sequence[Path]) -> Tables:
    """Return the clicks of the file, each line once.

    Raises:
        DataError: also a news item with two headlines: the file has one each, so users and news
            changed places.
    """
    (path,) = files
    fields = scan_fields(path, COLUMNS)
    seconds, number = pl.col("seconds").cast(pl.Int64, strict=False), r"^\d+$"
    refuse_lines(
        path,
        fields,
        {
            "user": (pl.col("user").str.contains(number), "a number"),
            "news": (pl.col("news").str.contains(number), "a number"),
            "seconds": (seconds.is_between(1_000_000_000, 2_000_000_000), "Unix seconds"),
            "headline": (~pl.col("headline").str.contains(r"^\d*$"), "a headline"),
            "day": (
                pl.col("day").cast(pl.Int64, strict=False).is_between(1, 31),
                "a day of the month",
            ),
        },
    )
    lines = fields.collect()
    clicks = lines.unique(COLUMNS, keep="first", maintain_order=True)
    news = clicks.select("news", "headline").unique(maintain_order=True)
    if (several := news["news"].is_duplicated()).any():
        first = news.filter(several)["news"][0]
        line = clicks.filter(news=first).unique("headline", keep="first", maintain_order=True)[
            "line"
        ][1]
        raise DataError(
            f"{path}, line {line}: a second headline for news {first}; expected one each. Are its "
            f"columns in the order {', '.join(COLUMNS)}?"
        )
    return assemble(
        clicks.select(
            event_id="line", user_id="user", item_id="news", timestamp=seconds, label=pl.lit(1.0)
        ),
        news.sort("news").select(item_id="news", headline="headline"),
        counts={"repeated_lines": len(lines) - len(clicks)},
    )
