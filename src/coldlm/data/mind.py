"""MIND: what Microsoft News showed and what was clicked, 9 to 14 November 2019; for research, not
to be passed on.

| file | what it holds |
|---|---|
| ``MIND{edition}_{train,dev}/behaviors.tsv`` | impression, user, time, history, shown (N1-1 N2-0) |
| ``MIND{edition}_{train,dev}/news.tsv`` | id, category, subcategory, title, abstract, url, entities of both |

Tabs, no header, quotes without meaning. Times (11/9/2019 12:01:13 AM) carry no zone and are read as
UTC. Texts in other
languages: ``xmind``.

A history lists what a user clicked in the four weeks before the log, without times: of the sample,
none of 473 clicks of the training days is in the same user's history on the test day. All of it
becomes events, one second before the first impression, where ``log_starts_at`` stands. **They are
most of the events** (94 % of the sample): they fill histories and counts, always train, and the
shares of a split leave them out.

News carry no publication time: an item becomes a candidate after its first click. The catalogue of
a sample such as small holds what its users were shown, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.files import xmind
from coldlm.data.files.fields import refuse_lines, scan_fields

FIELDS: Final = ("title", "abstract", "category", "subcategory")

BEHAVIORS: Final = ("impression", "user", "time", "history", "shown")

NEWS: Final = (
    "item_id",
    "category",
    "subcategory",
    "title",
    "abstract",
    "url",
    "title_entities",
    "abstract_entities",
)

Edition = Literal["demo", "small", "large", "sample"]

Language = Literal[
    "cmn",
    "zho",
    "fin",
    "grn",
    "hat",
    "ind",
    "jpn",
    "kat",
    "ron",
    "som",
    "swh",
    "tam",
    "tha",
    "tur",
    "vie",
]
"""ISO 639-3; Mandarin Chinese is cmn or zho, whichever the folder is called."""

BLOCK: Final = 50_000
"""Lists that are taken apart at once."""

WAYS: Final = (
    "coldlm data fetch mind dataset.edition=small (or demo, large) downloads MINDsmall_train.zip "
    "and MINDsmall_dev.zip"
    " from https://recodatasets.z20.web.core.windows.net/newsrec/; by hand: unpack each into a "
    "folder of its name in the data folder, and name that by COLDLM_DATA or dataset.root"
)


def load(
    *,
    root: str | None = None,
    edition: Edition = "small",
    language: Language | None = None,
    text: str = "{title}",
    half_lives_days: list[float] = [0.25, 1.0, 7.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return every clicked news is a positive event at the second of its impression; before them
    all, the histories.

    Args:
        root: the data folder: it holds ``MIND{edition}_train/`` and ``MIND{edition}_dev/``, itself
            or in ``mind/`` or ``mind_{edition}/``.
        edition: which of MIND's sizes; "sample" is a ``MINDsample_*`` of your own making.
        language: of xMIND: its title and abstract replace the English ones; news that it lacks stay
            and are counted.
        text: template over title, abstract, category, subcategory.
        item_ttl_days: how long a news item stays a candidate after its first click.

    Counted: clicks that histories hold, each user and item once; impressions of an empty history,
    which are kept; further clicks of an item in one second. Lists are numbered in the order of the
    files, train first, since both files count from 1.

    Raises:
        DataError: see ``problems``; damaged files, with the line. Free text in the wrong column
            goes unnoticed.
    """
    return reader(edition, language).load(
        root=root,
        text=text,
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        cache=cache,
    )


@with_defaults_of(load)
def problems(*, edition: Edition, language: Language | None, **keys: Any) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting, without opening a file; [] if
    nothing does."""
    return reader(edition, language).problems(**keys)


def reader(edition: Edition, language: Language | None) -> Reader:
    """Say what is special to an edition, with its texts in a language."""
    return Reader(
        name=f"mind_{edition}" + (f"_{language}" if language else ""),
        domain="news",
        version=2,
        fields=FIELDS,
        title="title",
        find=lambda root: find(root, edition, language),
        read=read,
        wanted=f"behaviors.tsv and news.tsv in both MIND{edition}_train/ and MIND{edition}_dev/",
        ways=f"{WAYS}; other editions: dataset.edition=demo, small, large or sample",
        further=lambda _, root: _language_problems(edition, language, root),
    )


def _language_problems(edition: Edition, language: Language | None, root: Path | None) -> list[str]:
    """What keeps a data folder from having the texts in this language."""
    if not root or not language or xmind.find(root, edition, language):
        return []
    ways = xmind.WAYS.format(edition=edition, language=language)
    return [f"dataset.language={language}: no translations in {root}. {ways}"]


def find(root: Path, edition: str = "small", language: str | None = None) -> list[Path]:
    """Behaviors of train and dev, news of both, and any number of translations; [] unless the first
    four are there. Some archives hold a folder of their own name, others do not."""
    names = [f"MIND{edition}_{part}" for part in ("train", "dev")]
    for top in (root / f"mind_{edition}", root / "mind", root):
        folders = [
            next((f for f in (top / n / n, top / n) if (f / "news.tsv").is_file()), top / n)
            for n in names
        ]
        files = [folder / name for name in ("behaviors.tsv", "news.tsv") for folder in folders]
        if all(file.is_file() for file in files):
            return files + (xmind.find(root, edition, language) if language else [])
    return []


def read(files: Sequence[Path]) -> Tables:
    """Histories and clicks as events, the lists as impressions."""
    behaviors, news, translations = files[:2], files[2:4], files[4:]
    counts: dict[str, int] = {}
    items = _read_news(news, translations, counts)
    lists = pl.concat([_read_behaviors(path) for path in behaviors]).with_row_index("impression")
    past = _histories(lists)
    empty = lists.filter(history="").height
    lists = lists.drop("history").sort("timestamp", maintain_order=True)
    shown, clicks = _places(lists)
    once = clicks.unique(maintain_order=True)
    counts |= {
        "history_events_without_time": len(past),
        "impressions_of_an_empty_history": empty,
        "repeated_clicks": len(clicks) - len(once),
    }
    events = pl.concat([past, once]).with_columns(label=pl.lit(1.0))
    size = pl.col("shown").str.count_matches(" ", literal=True) + 1
    lists = lists.select("user_id", "timestamp", size=size)
    start: int = lists["timestamp"][0]
    return assemble(
        events, items, impressions=lists, shown=shown, counts=counts, log_starts_at=start
    )


def _places(lists: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """``item_id`` and ``clicked`` of every place, in the order of the lists, and the clicks in that
    of the files.

    In parts: ids as strings would take several times the room of the file, as categories they take
    four bytes.
    """
    places, clicks = [], []
    for part in lists.iter_slices(BLOCK):
        names = part.with_columns(pl.col("shown").str.split(" ")).explode("shown")
        part = names.select(
            "impression",
            "user_id",
            "timestamp",
            item_id=pl.col("shown").str.head(-2).cast(pl.Categorical),
            clicked=pl.col("shown").str.ends_with("1"),
        )
        places.append(part.select("item_id", "clicked"))
        clicks.append(
            part.filter("clicked").select("impression", "user_id", "item_id", "timestamp")
        )
    in_files = pl.concat(clicks).sort("impression", maintain_order=True)
    return pl.concat(places), in_files.drop("impression")


def _histories(lists: pl.DataFrame) -> pl.DataFrame:
    """Each user's and item's first mention, a second before the first impression of all."""
    mentioned = (
        lists.filter(pl.col("history") != "")
        .select("user_id", "history")
        .unique(maintain_order=True)
    )
    parts = [
        part.with_columns(item_id=pl.col("history").str.split(" "))
        .explode("item_id")
        .select("user_id", pl.col("item_id").cast(pl.Categorical))
        for part in mentioned.iter_slices(BLOCK)
    ]
    ids = {"user_id": pl.Categorical(), "item_id": pl.Categorical()}
    once = pl.concat(parts or [pl.DataFrame(schema=ids)]).unique(maintain_order=True)
    return once.with_columns(timestamp=pl.lit(lists["timestamp"].min(), pl.Int64) - 1)


def _read_behaviors(path: Path) -> pl.DataFrame:
    fields = scan_fields(path, BEHAVIORS)
    seconds = pl.col("time").str.to_datetime("%m/%d/%Y %I:%M:%S %p", strict=False).dt.epoch("s")
    number = pl.col("impression").str.contains(r"^\d+$")
    rules = {
        "impression": (
            number & pl.col("impression").is_first_distinct(),
            "a number, once in the file",
        ),
        "user": (pl.col("user").str.contains(r"^U\d+$"), "U and a number"),
        "time": (seconds >= 0, "a time such as 11/9/2019 12:01:13 AM"),
        "history": (
            pl.col("history").str.contains(r"^(N\d+( N\d+)*)?$"),
            "news ids with one blank between",
        ),
        "shown": (
            pl.col("shown").str.contains(r"^N\d+-[01]( N\d+-[01])*$"),
            "ids with -0 or -1, such as N123-1 N45-0",
        ),
    }
    refuse_lines(path, fields, rules)
    user = pl.col("user").cast(pl.Categorical)
    return fields.select(
        user_id=user, timestamp=seconds, history="history", shown="shown"
    ).collect()


def _read_news(
    files: Sequence[Path], translations: Sequence[Path], counts: dict[str, int]
) -> pl.DataFrame:
    """Every news item once, as the first file has it, and its translation where there is one."""
    parts = []
    for path in files:
        fields = scan_fields(path, NEWS)
        new = pl.col("item_id").str.contains(r"^N\d+$") & pl.col("item_id").is_first_distinct()
        rules = {
            name: (pl.col(name).str.contains(r"^(\[.*\])?$"), "a JSON list or nothing")
            for name in NEWS[-2:]
        }
        refuse_lines(path, fields, {"item_id": (new, "an id such as N123, once"), **rules})
        parts.append(fields.select("item_id", *FIELDS).collect())
    distinct = pl.concat(parts).unique(maintain_order=True)
    news = distinct.unique("item_id", keep="first", maintain_order=True)
    counts["news_that_differ_between_files"] = len(distinct) - len(news)
    return xmind.translate(news, translations, counts) if translations else news
