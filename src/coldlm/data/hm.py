"""H&M: what 1.36 million customers of a fashion house bought, day by day, September 2018 to September 2020; Kaggle.

For the competition and non-commercial research, not to be passed on [unverified]: downloaded by hand.

| file | what it is |
|---|---|
| ``articles.csv`` | article_id (ten digits, the first is 0) and names: product, type, colour, ..., description |
| ``transactions_train.csv`` | t_dat (a day), customer_id, article_id, price, sales_channel_id; no quotes |
| ``customers.csv`` | optional: customer_id, age and what else was known of a customer at the end |

[unverified: the columns are those of other projects' readers.] People buy the same article again, in another size or
another year: items repeat. A line that repeats customer, article and day is a second piece of the same purchase. Only
the day is known: an event lies at its midnight, UTC, and no event of a day is known to another of the same day.

Of a customer only the age is read: club_member_status, fashion_news_frequency, FN and Active are as of the end. The
age is too, within two years.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from coldlm.data.canonical import Tables, assemble, to_dataset
from coldlm.data.lines import AGAIN, check_end, check_rows, read_fields
from coldlm.data.prepared import prepare
from coldlm.data.raw import missing_columns, refuse, time_scale_problems
from coldlm.data.template import template_problems
from coldlm.errors import DataError
from coldlm.tables import Dataset

VERSION: Final = 1

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
    "Accept the rules of https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations, download "
    "articles.csv, transactions_train.csv and, if wanted, customers.csv from its page Data, unpack them into hm/ of "
    "the data folder, and name that by COLDLM_DATA or dataset.root; coldlm data fetch cannot do that for you"
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
    """Every purchase is a positive event of its customer, at the midnight, UTC, that begins its day.

    Args:
        root: the data folder: it holds ``h-and-m-personalized-fashion-recommendations/`` or ``hm/``, or the files.
        text: template over the names of ``FIELDS``.

    Left out and counted: lines that repeat customer, article and day of an earlier one. A customer's profile text is
    "age 24", where customers.csv is there and says so.

    Raises:
        DataError: see ``problems``; damaged files, with the line.
    """
    refuse(problems(root=root, text=text, half_lives_days=half_lives_days, item_ttl_days=item_ttl_days))
    files = find(Path(root or ""))
    tables, hashes = prepare("hm", files, lambda: read(files), version=VERSION, options={}, cache=Path(cache))
    return to_dataset(
        tables,
        name="hm",
        domain="ecommerce",
        text=text,
        title="prod_name",
        repeats=True,
        release="after_first",
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        hashes=hashes,
    )


def problems(
    *,
    root: str | None = None,
    text: str = "{prod_name} | {product_type_name} | {colour_group_name} | {detail_desc}",
    half_lives_days: Sequence[float] = (2.0, 7.0, 30.0),
    item_ttl_days: float | None = None,
    **_: object,
) -> list[str]:
    """What keeps ``load`` with the same keys from starting, without opening a file; [] if nothing does."""
    found = template_problems(text, FIELDS) + time_scale_problems(half_lives_days, item_ttl_days)
    if not root:
        found.append(f"hm: neither COLDLM_DATA nor dataset.root names a folder. {WAYS}")
    elif not find(Path(root)):
        found.append(f"dataset.root={root}: holds no {' and '.join(FILES)}, nor in {'/, '.join(FOLDERS)}/. {WAYS}")
    return found


def find(root: Path) -> list[Path]:
    """Articles, transactions and, if it is there, customers; [] unless the first two are in one folder."""
    for folder in (*(root / name for name in FOLDERS), root):
        files = [folder / name for name in FILES]
        if all(file.is_file() for file in files):
            return [*files, *(file for file in [folder / CUSTOMERS] if file.is_file())]
    return []


def read(files: Sequence[Path]) -> Tables:
    """The canonical tables from the files of ``find``."""
    articles, transactions, *customers = files
    lines = _transactions(transactions)
    once = lines.unique(["user_id", "item_id", "timestamp"], keep="first", maintain_order=True)
    counts = {"repeated_lines": len(lines) - len(once)}
    users = _customers(customers[0]) if customers else None
    if users is not None:
        counts["customers_without_age"] = users["age"].null_count()
    return assemble(once, _articles(articles), users=users, counts=counts)


def _transactions(path: Path) -> pl.DataFrame:
    """``event_id``, ``user_id``, ``item_id``, ``timestamp`` and ``label``, as many rows as lines."""
    names = {"t_dat": "day", "customer_id": "user_id", "article_id": "item_id"}
    table = read_fields(path, [*names, "price", "sales_channel_id"])
    checks = {
        "t_dat": (_day("t_dat").is_null(), "a day from 2018-01-01 to 2020-12-31"),
        "article_id": (
            ~pl.col("article_id").str.contains(ARTICLE),
            "ten digits; the leading 0 is lost where a table was saved anew with numbers as ids",
        ),
        "price": (pl.col("price").cast(pl.Float64, strict=False).is_null(), "a number"),
    }
    for name, (bad, expected) in checks.items():
        check_rows(table, bad, name, expected, path, first=2)
    return table.select(
        pl.col("customer_id").alias("user_id"),
        pl.col("article_id").alias("item_id"),
        _day("t_dat").cast(pl.Datetime("ms")).dt.epoch("s").alias("timestamp"),
        pl.lit(1.0).alias("label"),
    ).with_row_index("event_id")


def _day(name: str) -> pl.Expr:
    """The day, null where there is none or it is written in another way."""
    iso = pl.when(pl.col(name).str.contains(r"^20(18|19|20)-\d\d-\d\d$")).then(name)
    return iso.str.to_date("%Y-%m-%d", strict=False)


def _customers(path: Path) -> pl.DataFrame:
    """``user_id`` and ``age``, "age 24"; every other field may be empty."""
    others = ["FN", "Active", "club_member_status", "fashion_news_frequency", "age"]
    table = read_fields(path, ["customer_id", "age"], optional=others)
    number = pl.col("age").cast(pl.Float64, strict=False)
    bad = pl.col("age").is_not_null() & ~number.is_between(0, 150).fill_null(False)
    check_rows(table, bad, "age", "years or nothing", path, first=2)
    again = pl.col("customer_id").is_first_distinct().not_()
    check_rows(table, again, "customer_id", "every customer once", path, first=2)
    return table.select(pl.col("customer_id").alias("user_id"), pl.format("age {}", number.cast(pl.Int64)).alias("age"))


def _articles(path: Path) -> pl.DataFrame:
    """``item_id`` and ``FIELDS``; a hundred thousand rows, whose descriptions hold commas, quotes and line breaks."""
    check_end(path)
    rows: dict[str, list[str]] = {}
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            _check_header(path, header)
            places = [header.index(name) for name in FIELDS]
            for row in reader:
                number = reader.line_num
                if len(row) != len(header):
                    raise DataError(f"{path}, line {number}: {len(row)} fields, expected {len(header)}; {AGAIN}")
                _check_article(path, number, row, item := row[header.index("article_id")], item in rows)
                rows[item] = [row[place] for place in places]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, after line {number}: not UTF-8 text ({error.reason}); {AGAIN}") from error
    except csv.Error as error:
        raise DataError(f"{path}, after line {number}: cannot be read as csv: {error}; {AGAIN}") from error
    if not rows:
        raise DataError(f"{path}: no rows; at least one is needed")
    columns = dict(zip(FIELDS, map(list, zip(*rows.values(), strict=True)), strict=True))
    return pl.DataFrame({"item_id": list(rows), **columns})


def _check_header(path: Path, header: Sequence[str]) -> None:
    refuse(missing_columns(path, header, ["article_id", *FIELDS]))
    for name in header:
        if header.count(name) > 1:
            raise DataError(f"{path}: column {name!r} appears twice; {AGAIN}")


def _check_article(path: Path, number: int, row: Sequence[str], item: str, again: bool) -> None:
    if not re.match(ARTICLE, item):
        raise DataError(f"{path}, line {number}, column 'article_id': {item!r}; expected ten digits, the first a 0")
    if again:
        raise DataError(f"{path}, line {number}, column 'article_id': {item!r} again; expected every article once")
    # a quote that is never closed swallows the lines behind it
    if any(re.search(r"\0|\r(?!\n)|\n\d{10},", value) for value in row):
        raise DataError(f"{path}, line {number}: a NUL byte, a carriage return, or a quote never closed; {AGAIN}")
