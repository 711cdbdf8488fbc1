"""Amazon Reviews 2023: stars of one category of products, May 1996 to September 2023; McAuley Lab,
UC San Diego.

No licence is stated; for research, not to be passed on [unverified].

| file | what it is |
|---|---|
| ``<Category>.csv``, ``.csv.gz`` | header user_id, parent_asin, rating, timestamp; the last in **milliseconds** |
| or ``<Category>.jsonl``, ``.jsonl.gz`` | one JSON object per review, with the same four keys and others |
| ``meta_<Category>.jsonl``, ``.jsonl.gz`` | one JSON object per product: parent_asin, title, store, categories, ... |

The fields of the metadata [unverified: taken from descriptions of the data, not from the file]:
title, store and main_category are text or null, categories, features and description are lists of
texts. Entities (``&amp;``) occur.

Of a review's other keys none is read: its title and text were written with the stars, helpful_vote
counts votes until the crawl, asin is the variant, and images and verified_purchase say nothing of
the item.

The variants of a product share a parent_asin, and a user may rate it more than once. The folders
0core (all stars) and 5core (users and products with five or more, counted over all time: it keeps
what *will* have five) publish files of the same name; the hash in every run tells them apart. A
rating says when it was written, not when the thing was bought. Metadata is as of the crawl in 2023,
so a title may be younger than the event that it is shown for.
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
from coldlm.data.files.raw import header

FOLDER: Final = "amazon2023"

JOINTS: Final = {
    "title": ", ",
    "store": ", ",
    "categories": ", ",
    "features": "; ",
    "description": " ",
    "main_category": ", ",
}
"""Field -> what stands between the parts of a list."""

FIELDS: Final = tuple(JOINTS)

KINDS: Final = {
    "user_id": pl.String,
    "parent_asin": pl.String,
    "rating": pl.Float64,
    "timestamp": pl.Int64,
}
"""Of the stars, in either kind of file."""

BANNED: Final = {
    "average_rating": "the mean of all stars until the crawl",
    "rating_number": "how many stars there were at the crawl",
    "bought_together": "what was bought with it until the crawl",
    "price": "of the day of the crawl",
    "details": "they hold the best sellers rank of the day of the crawl",
    "text": "the review itself, written with the stars",
    "helpful_vote": "the votes that a review got until the crawl",
}
"""Keys of the metadata and of reviews that know the future."""

BASE: Final = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/"

WAYS: Final = (
    "coldlm data fetch amazon2023 dataset.category=<Category> downloads it; or download "
    f"{BASE}benchmark/0core/rating_only/<Category>.csv.gz (or 5core), or "
    f"{BASE}raw/review_categories/<Category>.jsonl.gz, and "
    f"{BASE}raw/meta_categories/meta_<Category>.jsonl.gz into "
    f"{FOLDER}/ of the data folder, and name that by COLDLM_DATA or dataset.root"
)


def load(
    *,
    root: str | None = None,
    category: str = "All_Beauty",
    positive_from: Annotated[float, Range(1, 5)] = 4.0,
    text: str = "{title} | {categories}",
    half_lives_days: list[float] = [30.0, 90.0, 365.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return the stars that users gave to products of one category.

    Args:
        root: the data folder: it holds ``amazon2023/``, or the files themselves.
        category: as in the names of the files, such as Electronics.
        positive_from: stars from which an event is a positive.
        text: template over title, store, categories, features, description, main_category.

    Times are cut to seconds. Products without metadata stay, without text. Left out and counted:
    lines that repeat user, product, time and stars of an earlier one, metadata of products without
    stars, and all metadata of a product but the first.

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
    table = _read_csv(stars) if ".csv" in stars.suffixes else read_objects(stars, KINDS)
    table = table.rename({"parent_asin": "item_id", "rating": "label"})
    ratings = amazon.check_stars(table, stars, last_year=2024, per_second=1000).with_row_index(
        "event_id"
    )
    cut = table.select((pl.col("timestamp").cast(pl.Int64) % 1000 > 0).sum()).item()
    about, counts = amazon.read_meta(
        meta, "parent_asin", JOINTS, set(ratings["item_id"].unique()), html=False
    )
    return amazon.put_together(ratings, about, {"timestamps_cut_to_seconds": cut, **counts})


def _read_csv(path: Path) -> pl.DataFrame:
    return scan_fields(path, header(path, list(KINDS)), header=True, separator=",").collect()


def _names(category: str) -> dict[str, list[str]]:
    return {
        "stars": [f"{category}.csv", f"{category}.jsonl"],
        "metadata": [f"meta_{category}.jsonl"],
    }
