"""H&M: what 1.36 million customers of a fashion house bought, day by day, September 2018 to
September 2020; Kaggle.

For the competition and non-commercial research, not to be passed on [unverified]: downloaded by
hand.

| file | what it is |
|---|---|
| ``articles.csv`` | article_id (ten digits, the first is 0) and names: product, type, colour, ..., description |
| ``transactions_train.csv`` | t_dat (a day), customer_id, article_id, price, sales_channel_id; no quotes |
| ``customers.csv`` | optional: customer_id, age and what else was known of a customer at the end |

[unverified: the columns are those of other projects' readers.] People buy the same article again,
in another size or another year: items repeat. A line that repeats customer, article and day is a
second piece of the same purchase. Only the day is known: an event lies at its midnight, UTC, and no
event of a day is known to another of the same day.

Of a customer only the age is read: club_member_status, fashion_news_frequency, FN and Active are as
of the end. The age is too, within two years.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.files.fields import read_quoted, refuse_lines, scan_fields
from coldlm.data.files.raw import find_files, header

FIELDS: Final = (
    "prod_name",
    "product_type_name",
    "product_group_name",
    "graphical_appearance_name",
    "colour_group_name",
    "perceived_colour_value_name",
    "perceived_colour_master_name",
    "department_name",
    "index_name",
    "index_group_name",
    "section_name",
    "garment_group_name",
    "detail_desc",
)

FOLDERS: Final = ("h-and-m-personalized-fashion-recommendations", "hm")

FILES: Final = ("articles.csv", "transactions_train.csv")
CUSTOMERS: Final = "customers.csv"

WAYS: Final = (
    "Accept the rules of "
    "https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations, download "
    "articles.csv, transactions_train.csv and, if wanted, customers.csv from its page Data, unpack "
    "them into hm/ of "
    "the data folder, and name that by COLDLM_DATA or dataset.root; coldlm data fetch cannot do "
    "that for you"
)

ARTICLE: Final = r"^\d{10}$"


def load(
    *,
    root: str | None = None,
    text: str = "{prod_name} | {product_type_name} | {colour_group_name} | {detail_desc}",
    half_lives_days: list[float] = [2.0, 7.0, 30.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return every purchase is a positive event of its customer, at the midnight, UTC, that begins
    its day.

    Args:
        root: the data folder: it holds ``h-and-m-personalized-fashion-recommendations/`` or
            ``hm/``, or the files.
        text: template over the names of ``FIELDS``.

    Left out and counted: lines that repeat customer, article and day of an earlier one. A
    customer's profile text is "age 24", where customers.csv is there and says so.

    Raises:
        DataError: see ``problems``; damaged files, with the line.
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
        name="hm",
        domain="ecommerce",
        version=1,
        fields=FIELDS,
        title="prod_name",
        find=find,
        read=read,
        wanted=f"{' and '.join(FILES)}, nor does {' or '.join(FOLDERS)}/ in it",
        ways=WAYS,
        repeats=True,
    )


def find(root: Path) -> list[Path]:
    """Articles, transactions and, if it is there, customers; [] unless the first two are in one
    folder."""
    return find_files(root, FOLDERS, FILES, [CUSTOMERS])


def read(files: Sequence[Path]) -> Tables:
    """Return the canonical tables from the files of ``find``."""
    articles, transactions, *customers = files
    lines = _transactions(transactions)
    once = lines.unique(["user_id", "item_id", "timestamp"], keep="first", maintain_order=True)
    counts = {"repeated_lines": len(lines) - len(once)}
    users = _customers(customers[0]) if customers else None
    if users is not None:
        counts["customers_without_age"] = users["age"].null_count()
    return assemble(once, _articles(articles), users=users, counts=counts)


def _transactions(path: Path) -> pl.DataFrame:
    """``event_id``, ``user_id``, ``item_id``, ``timestamp`` and ``label``, as many rows as
    lines."""
    needed = ("t_dat", "customer_id", "article_id", "price", "sales_channel_id")
    lines = scan_fields(path, header(path, needed), header=True, separator=",")
    rules = {
        "t_dat": (_day("t_dat").is_not_null(), "a day from 2018-01-01 to 2020-12-31"),
        "customer_id": (pl.col("customer_id") != "", "an id"),
        "article_id": (
            pl.col("article_id").str.contains(ARTICLE),
            "ten digits; the leading 0 is lost where a table was saved anew with numbers as ids",
        ),
        "price": (pl.col("price").cast(pl.Float64, strict=False).is_not_null(), "a number"),
        "sales_channel_id": (pl.col("sales_channel_id") != "", "a number"),
    }
    refuse_lines(path, lines, rules)
    columns = lines.select(
        # four bytes a row each, where the customer alone would take eighty
        pl.col("customer_id").cast(pl.Categorical).alias("user_id"),
        pl.col("article_id").cast(pl.Categorical).alias("item_id"),
        _day("t_dat").cast(pl.Datetime("ms")).dt.epoch("s").alias("timestamp"),
        pl.lit(1.0).alias("label"),
    )
    return columns.collect(engine="streaming").with_row_index("event_id")


def _day(name: str) -> pl.Expr:
    """The day, null where there is none or it is written in another way."""
    iso = pl.when(pl.col(name).str.contains(r"^20(18|19|20)-\d\d-\d\d$")).then(name)
    return iso.str.to_date("%Y-%m-%d", strict=False)


def _customers(path: Path) -> pl.DataFrame:
    """``user_id`` and ``age``, "age 24"; every other field but the last may be empty."""
    columns = header(path, ["customer_id", "age"])
    lines = scan_fields(path, columns, header=True, separator=",").collect()
    ident, number = pl.col("customer_id"), pl.col("age").cast(pl.Float64, strict=False)
    rules = {
        columns[-1]: (pl.col(columns[-1]) != "", "a value: all lines end with one"),
        "age": ((pl.col("age") == "") | number.is_between(0, 150), "years or nothing"),
        "customer_id": ((ident != "") & ident.is_first_distinct(), "every customer once"),
    }
    refuse_lines(path, lines, rules)
    return lines.select(
        ident.alias("user_id"), pl.format("age {}", number.cast(pl.Int64)).alias("age")
    )


def _articles(path: Path) -> pl.DataFrame:
    """``item_id`` and ``FIELDS``; a hundred thousand rows, whose descriptions hold commas, quotes
    and line breaks."""
    table = read_quoted(path, ["article_id", *FIELDS])
    ident = pl.col("article_id")
    # a quote that is never closed swallows the lines behind it
    rules = {
        name: (~pl.col(name).str.contains(r"\n\d{10},"), "one article: a quote is not closed")
        for name in FIELDS
    }
    refuse_lines(
        path,
        table,
        {"article_id": (ident.str.contains(ARTICLE), "ten digits, the first a 0")} | rules,
    )
    refuse_lines(
        path,
        table,
        {"article_id": (ident.is_first_distinct(), "every article once, it is here again")},
    )
    return table.select(ident.alias("item_id"), *FIELDS)
