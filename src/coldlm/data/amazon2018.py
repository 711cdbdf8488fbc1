"""Amazon Reviews 2018: stars of one category of products, May 1996 to October 2018; McAuley Lab, UC
San Diego.

No licence is stated; for research, not to be passed on [unverified].

| file | what it is |
|---|---|
| ``<Category>_5.json`` | reviews of users and products with five or more: reviewerID, asin, overall, unixReviewTime |
| ``<Category>.json`` | all reviews, the same keys |
| ``<Category>.csv`` | all stars, no header: **item, user**, stars, seconds; in the edition of 2014 user, item |
| ``meta_<Category>.json`` | one JSON object per product: asin, title, brand, category[], description[], feature[] |

One of the first three; each plain or .gz. Times are days (midnight UTC) in seconds. Reviews repeat,
and so do asins of the metadata. Texts hold HTML tags and entities, and some titles are a piece of
the page's script. Five or more is counted over all time: such a file keeps what *will* have five.
Metadata is as of the crawl in 2018, so a title may be younger than the event that it is shown for.
[unverified: the keys are those of other projects' readers.]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import polars as pl

from coldlm.core.columns import Range
from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.files import amazon
from coldlm.data.files.fields import scan_fields
from coldlm.data.files.lines import read_objects

FOLDER: Final = "amazon2018"

JOINTS: Final = {
    "title": ", ",
    "brand": ", ",
    "category": ", ",
    "description": " ",
    "feature": "; ",
    "main_cat": ", ",
}
"""Field -> what stands between the parts of a list."""

FIELDS: Final = tuple(JOINTS)

BANNED: Final = {
    "rank": "the best sellers rank of the day of the crawl",
    "also_buy": "what was bought with it until the crawl",
    "also_view": "what was viewed with it until the crawl",
    "similar_item": "what was found similar at the crawl",
    "price": "of the day of the crawl",
}
"""Keys of the metadata that know the future."""

BASE: Final = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/"

WAYS: Final = (
    f"coldlm data fetch amazon2018 dataset.category=<Category> downloads it; or download "
    f"{BASE}categoryFilesSmall/<Category>_5.json.gz or "
    f"<Category>.csv there, and {BASE}metaFiles2/meta_<Category>.json.gz into {FOLDER}/ of the "
    "data folder, and name that by COLDLM_DATA or dataset.root"
)


def load(
    *,
    root: str | None = None,
    category: str = "All_Beauty",
    positive_from: Annotated[float, Range(1, 5)] = 4.0,
    text: str = "{title} | {category}",
    half_lives_days: list[float] = [30.0, 90.0, 365.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return the stars that users gave to products of one category.

    Args:
        root: the data folder: it holds ``amazon2018/``, or the files themselves.
        category: as in the names of the files, such as Gift_Cards.
        positive_from: stars from which an event is a positive.
        text: template over title, brand, category, description, feature, main_cat.

    Products without metadata stay, without text. Left out and counted: lines that repeat user,
    product, time and stars of an earlier one, metadata of products without stars, and all metadata
    of a product but the first.

    Raises:
        DataError: see ``problems``; damaged files, with the line.
    """
    return reader(category).load(
        root=root,
        text=text,
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        cache=cache,
        positive_from=positive_from,
    )


@with_defaults_of(load)
def problems(*, category: str, **keys: Any) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting, without opening a file; [] if
    nothing does."""
    return reader(category).problems(**keys)


def reader(category: str) -> Reader:
    """Say what is special to a category."""
    return amazon.make_reader(
        FOLDER,
        category,
        _names(category),
        version=1,
        fields=FIELDS,
        banned=BANNED,
        read=read,
        ways=WAYS,
    )


def find(root: Path, category: str = "All_Beauty") -> list[Path]:
    """Return the stars and the metadata of a category, in this order, as far as they are there."""
    return amazon.find_all(root, FOLDER, _names(category))


def read(files: Sequence[Path]) -> Tables:
    """Return the canonical tables from the two files of ``find``."""
    stars, meta = files
    columns = ("item_id", "user_id", "label", "timestamp")
    is_csv = ".csv" in stars.suffixes
    table = scan_fields(stars, columns, separator=",").collect() if is_csv else _read_reviews(stars)
    ratings = amazon.check_stars(table, stars, last_year=2019).with_row_index("event_id")
    about, counts = amazon.read_meta(
        meta, "asin", JOINTS, set(ratings["item_id"].unique()), html=True
    )
    return amazon.put_together(ratings, about, counts)


def _read_reviews(path: Path) -> pl.DataFrame:
    kinds = {
        "asin": pl.String,
        "reviewerID": pl.String,
        "overall": pl.Float64,
        "unixReviewTime": pl.Int64,
    }
    names = dict(zip(kinds, ("item_id", "user_id", "label", "timestamp"), strict=True))
    return read_objects(path, kinds).rename(names)


def _names(category: str) -> dict[str, list[str]]:
    return {
        "stars": [f"{category}_5.json", f"{category}.json", f"{category}.csv"],
        "metadata": [f"meta_{category}.json"],
    }
