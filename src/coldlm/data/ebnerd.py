"""EB-NeRD: what the Danish paper Ekstra Bladet showed and what was clicked, April to June 2023;
terms to be accepted.

| file | what it holds |
|---|---|
| ``articles.parquet`` | article_id, title, subtitle, body, category_str, topics, published_time |
| ``train/behaviors.parquet``, ``validation/...`` | user_id, impression_time, article_ids_inview, ..._clicked |
| ``train/history.parquet``, ``validation/...`` | user_id, article_id_fixed, impression_time_fixed: the 21 days before |

Times carry no zone and are read as UTC, all alike. The history of the validation week covers the
week of training, so it holds clicks that the lists of that week hold too, at the second the article
was opened: such a second record of a click is left out. Texts are the articles' last version; an
article that was rewritten after it was clicked may know more than its readers did, and the data
does not tell.
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
from coldlm.data.files.columnar import read_columns
from coldlm.data.files.raw import find_files, name_rows

FIELDS: Final = ("title", "subtitle", "body", "category", "topics")

BANNED: Final = dict.fromkeys(
    ("total_inviews", "total_pageviews", "total_read_time"),
    "counted over the week after publication",
)
"""Fields of the articles that know the future."""

ARTICLES: Final = {
    "article_id": "id", "title": "text", "subtitle": "text", "body": "text", "category_str": "text", "topics": "texts",
    "published_time": "time",
}  # fmt: skip
"""Column -> kind, see ``columnar.KINDS``."""

BEHAVIORS: Final = {
    "user_id": "id", "impression_time": "time", "article_ids_inview": "ids", "article_ids_clicked": "ids",
}  # fmt: skip

HISTORY: Final = {"user_id": "id", "article_id_fixed": "ids", "impression_time_fixed": "times"}

Edition = Literal["demo", "small", "large"]

BLOCK: Final = 50_000
"""Lists that are taken apart at once."""

WAYS: Final = (
    "Accept the terms at https://recsys.eb.dk, download ebnerd_{edition}.zip, unpack it into "
    "ebnerd_{edition}/ of the "
    "data folder, and name that by COLDLM_DATA or dataset.root; other editions: "
    "dataset.edition=demo, small or large"
)


def load(
    *,
    root: str | None = None,
    edition: Edition = "small",
    text: str = "{title} | {subtitle}",
    half_lives_days: list[float] = [0.25, 1.0, 7.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return every clicked article is a positive event at the second of its list; so is every
    earlier click of the histories.

    Args:
        root: the data folder: it holds ``ebnerd_{edition}/``, or what that holds.
        edition: which of the sizes.
        text: template over title, subtitle, body, category, topics.
        item_ttl_days: how long an article stays a candidate after it was published.

    Articles are candidates from ``published_time`` on. Left out and counted: clicks of a history
    that a list of the same user holds already, and repeated records. Lists are numbered in the
    order of the files, train first.

    Raises:
        DataError: see ``problems``; files that are no parquet, lack a column, or have one of
            another type.
    """
    return reader(edition).load(
        root=root,
        text=text,
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        cache=cache,
    )


@with_defaults_of(load)
def problems(*, edition: Edition, **keys: Any) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting, without opening a file; [] if
    nothing does."""
    return reader(edition).problems(**keys)


def reader(edition: Edition) -> Reader:
    """Say what is special to an edition."""
    return Reader(
        name=f"ebnerd_{edition}",
        domain="news",
        version=1,
        fields=FIELDS,
        banned=BANNED,
        title="title",
        find=lambda root: find(root, edition),
        read=read,
        wanted="articles.parquet with behaviors.parquet and history.parquet in train/ and "
        f"validation/, nor does ebnerd_{edition}/ in it",
        ways=WAYS.format(edition=edition),
        release="field",
    )


def find(root: Path, edition: str = "small") -> list[Path]:
    """Behaviors of train and validation, histories of both, articles; all five files or none."""
    names = [
        f"{part}/{name}.parquet"
        for name in ("behaviors", "history")
        for part in ("train", "validation")
    ]
    return find_files(root, [f"ebnerd_{edition}"], [*names, "articles.parquet"])


def read(files: Sequence[Path]) -> Tables:
    """Clicks of histories and lists as events, the lists as impressions, publication as release."""
    behaviors, histories, (articles,) = files[:2], files[2:4], files[4:]
    lists = pl.concat([read_columns(path, BEHAVIORS) for path in behaviors]).select(
        "user_id",
        timestamp=pl.col("impression_time").dt.epoch("s"),
        shown="article_ids_inview",
        clicked="article_ids_clicked",
    )
    clicks = (
        lists.select("user_id", "timestamp", item_id="clicked")
        .explode("item_id")
        .drop_nulls("item_id")
    )
    clicks = clicks.select("user_id", "item_id", "timestamp")
    past = pl.concat([_read_history(path) for path in histories])
    distinct = past.unique(maintain_order=True)
    new = _not_in_lists(distinct, clicks)
    events = pl.concat([new, clicks])
    once = events.unique(maintain_order=True)
    counts = {
        "history_events_repeated": len(past) - len(distinct),
        "history_events_already_in_lists": len(distinct) - len(new),
        "clicks_outside_their_list": int(
            lists["clicked"].list.set_difference(lists["shown"]).list.len().sum()
        ),
        "lists_without_a_click": int((lists["clicked"].list.len() == 0).sum()),
        "repeated_clicks": len(events) - len(once),
    }
    items = _read_articles(articles)
    seen = lists.with_columns(pl.col("shown").list.drop_nulls()).filter(
        pl.col("shown").list.len() > 0
    )
    seen = seen.sort("timestamp", maintain_order=True)
    return assemble(
        once.with_columns(label=pl.lit(1.0)),
        items,
        impressions=seen.select("user_id", "timestamp", size=pl.col("shown").list.len()),
        shown=_places(seen),
        counts=counts,
    )


def _places(lists: pl.DataFrame) -> pl.DataFrame:
    """``item_id`` and ``clicked`` of every place, in parts, since a copy of its clicks stands
    beside every place."""
    is_clicked = pl.col("shown").is_in(pl.col("clicked"))
    parts = [
        part.select("shown", "clicked").explode("shown").select(item_id="shown", clicked=is_clicked)
        for part in lists.iter_slices(BLOCK)
    ]
    return pl.concat(parts or [pl.DataFrame(schema={"item_id": pl.Int64, "clicked": pl.Boolean})])


def _not_in_lists(past: pl.DataFrame, clicks: pl.DataFrame) -> pl.DataFrame:
    """``past`` without what its user clicked in a list before: the article was opened a moment
    after the click."""
    first = clicks.group_by("user_id", "item_id").agg(pl.col("timestamp").min().alias("clicked_at"))
    joined = past.join(first, on=["user_id", "item_id"], how="left", maintain_order="left")
    is_new = pl.col("clicked_at").is_null() | (pl.col("clicked_at") > pl.col("timestamp"))
    return joined.filter(is_new).drop("clicked_at")


def _read_history(path: Path) -> pl.DataFrame:
    table = read_columns(path, HISTORY)
    unequal = table["article_id_fixed"].list.len() != table["impression_time_fixed"].list.len()
    if unequal.any():
        raise DataError(
            f"{path}: as many articles as times are needed; not so in "
            f"{name_rows(unequal.to_numpy())}"
        )
    rows = table.explode("article_id_fixed", "impression_time_fixed").drop_nulls()
    return rows.select(
        "user_id", item_id="article_id_fixed", timestamp=pl.col("impression_time_fixed").dt.epoch("s")
    )  # fmt: skip


def _read_articles(path: Path) -> pl.DataFrame:
    table = read_columns(path, ARTICLES, optional=frozenset(ARTICLES) - {"article_id"})
    return table.select(
        "title",
        "subtitle",
        "body",
        item_id="article_id",
        category="category_str",
        topics=pl.col("topics").list.join(", "),
        released_at=pl.col("published_time").dt.epoch("s"),
    )
