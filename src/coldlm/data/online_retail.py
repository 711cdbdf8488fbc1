"""Online Retail (I and II): invoices of a British gift shop, December 2009 to December 2011; UCI,
CC BY 4.0.

| source | what it is |
|---|---|
| ``online_retail_II.xlsx`` | as published (UCI 502), one sheet per year; needs the extra ``excel`` |
| ``Online Retail.xlsx`` | the older edition (UCI 352), other column names |
| ``*.parquet``, ``*.csv`` | the same columns in another container; times of a csv are ISO, 2010-12-01 08:26:00 |

The two sheets overlap: the invoices of 1 to 9 December 2010 are in both, and count as repeated
lines [unverified]. Wholesalers buy the same gifts again and again: items repeat. A product's
description changes and is sometimes a remark of the warehouse ("damaged"): its text is the most
frequent description *so far*.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.dated import DatedField
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.files.fields import read_table
from coldlm.data.files.lines import NO_ROWS
from coldlm.data.files.raw import refuse
from coldlm.data.files.sheets import read_sheets

FIELDS: Final = ("description",)

COLUMNS: Final = {
    "invoice": ("Invoice", "InvoiceNo"),
    "item_id": ("StockCode",),
    "description": ("Description",),
    "quantity": ("Quantity",),
    "time": ("InvoiceDate",),
    "price": ("Price", "UnitPrice"),
    "user_id": ("Customer ID", "CustomerID"),
    "country": ("Country",),
}
"""Our word -> the names it has in the two editions. The country is not used; it is the last column
and never empty, so that a line which was cut off is noticed."""

INVOICE: Final = r"^[A-Za-z]?\d{6}$"
"""Six digits, behind a letter where it cancels or corrects another invoice."""

FILES: Final = ("online_retail_II.xlsx", "Online Retail.xlsx", "*.parquet", "*.csv")

WAYS: Final = (
    "coldlm data fetch online_retail downloads it; or download "
    "https://archive.ics.uci.edu/static/public/502/online+retail+ii.zip, unpack "
    "online_retail_II.xlsx into "
    "online_retail_ii/ of the data folder, and name that by COLDLM_DATA or dataset.root"
)


def load(
    *,
    root: str | None = None,
    text: str = "{description}",
    half_lives_days: list[float] = [7.0, 30.0, 90.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return every line of an invoice is a positive event of its customer, at the invoice's minute.

    Args:
        root: the data folder: it holds ``online_retail_ii/``, or the files themselves.
        text: template over description.

    Left out and counted: cancelled invoices (number starts with C), quantities or prices not above
    0, lines without a customer, codes that do not start with five digits (postage, bank charges,
    vouchers), and lines that repeat customer, product and minute of an earlier one. Customers are
    known by their number, "13085".

    Raises:
        DataError: see ``problems``; columns that are missing, or values of another type.
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
        name="online_retail",
        domain="ecommerce",
        version=2,
        fields=FIELDS,
        title="description",
        find=find,
        read=read,
        wanted=f"{' or '.join(FILES)}, nor does online_retail_ii/ in it",
        ways=WAYS,
        repeats=True,
        dated={"description": DatedField()},
    )


def find(root: Path) -> list[Path]:
    """Return the raw files in ``root``: those of the first pattern of ``FILES`` that is there."""
    for folder in (root / "online_retail_ii", root):
        for pattern in FILES:
            if found := sorted(folder.glob(pattern)):
                return found
    return []


def read(files: Sequence[Path]) -> Tables:
    """Return the invoice lines of all files (and sheets), in their order."""
    lines = pl.concat([part for file in files for part in _parts(file)]).with_row_index("event_id")
    code = pl.col("item_id").str.strip_chars()
    policies = {
        "cancelled_lines": pl.col("invoice").str.starts_with("C"),
        "lines_without_quantity_or_price": (pl.col("quantity") <= 0) | (pl.col("price") <= 0),
        "lines_without_customer": pl.col("user_id").is_null(),
        "lines_of_no_product": ~code.str.contains(r"^\d{5}"),
    }
    counts = {}
    for name, condition in policies.items():
        kept = lines.filter(~condition.fill_null(True))
        counts[name], lines = len(lines) - len(kept), kept
    dated = lines.select(
        "item_id", "timestamp", pl.lit("description").alias("field"), value="description"
    )
    once = lines.unique(["user_id", "item_id", "timestamp"], keep="first", maintain_order=True)
    counts["repeated_lines"] = len(lines) - len(once)
    return assemble(
        once.select("event_id", "user_id", "item_id", "timestamp", pl.lit(1.0).alias("label")),
        once.select("item_id").unique(maintain_order=True).sort("item_id"),
        dated=dated.drop_nulls("value"),
        counts=counts,
    )


def _parts(file: Path) -> list[pl.DataFrame]:
    if file.suffix == ".xlsx":
        return [
            _normal(sheet, f"{file}, sheet {name!r}", "row", 2)
            for name, sheet in read_sheets(file, WAYS).items()
        ]
    table = read_table(file)
    if file.suffix == ".csv":  # a quote that is never closed swallows the lines behind it
        swallowed = table.select(
            pl.any_horizontal(pl.all().str.contains_any(["\n", "\r"])).arg_true()
        ).to_series()
        if len(swallowed):
            raise DataError(
                f"{file}, data row {swallowed[0] + 1}: a field over two lines; a quote is not "
                "closed"
            )
    return [_normal(table, str(file), "data row", 1)]


def _normal(frame: pl.DataFrame, where: str, row: str, first: int) -> pl.DataFrame:
    """The columns under our words and types.

    Args:
        where, row, first: file (and sheet), what a row is called there, and the number of the
            first.

    Raises:
        DataError: a column that is missing, or values that are not what they should be, with the
            first row.
    """
    names = _names(frame, where, f", row {first - 1}" if row == "row" else "")
    if not len(frame):
        raise DataError(f"{where}: {NO_ROWS}")
    frame = frame.select(pl.col(name).alias(ours) for ours, name in names.items())
    typed = frame.select(
        *(_code(frame[name]) for name in ("invoice", "item_id", "user_id")),
        *(pl.col(name).cast(pl.String, strict=False) for name in ("description", "country")),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in ("quantity", "price")),
        _moment(frame["time"]).alias("timestamp"),
        given=pl.lit(frame["user_id"].is_not_null()),
    )
    bad = {
        # all digits: a product's code, five of them, in its place
        "invoice": ~pl.col("invoice").str.contains(INVOICE).fill_null(False),
        "item_id": pl.col("item_id").str.contains("\0", literal=True).fill_null(True),
        "description": pl.col("description").str.contains("\0", literal=True),
        "quantity": ~pl.col("quantity").is_finite().fill_null(False),
        "time": pl.col("timestamp").is_null(),
        "price": ~pl.col("price").is_finite().fill_null(False),
        "user_id": pl.col("given") & ~pl.col("user_id").str.contains(r"^\d+$").fill_null(False),
        "country": pl.col("country").is_null(),
    }
    for ours, condition in bad.items():
        rows = typed.select(condition.arg_true()).to_series()
        if len(rows):
            value = frame[ours][rows[0]]
            raise DataError(
                f"{where}, {row} {rows[0] + first}, column {names[ours]!r}: {value!r} cannot be "
                "read"
            )
    return typed.drop("country", "given")


def _names(frame: pl.DataFrame, where: str, row: str) -> dict[str, str]:
    """Our word for each column -> its name here; ``row``: where the names stand in a sheet."""
    names = {
        ours: next((n for n in theirs if n in frame.columns), "")
        for ours, theirs in COLUMNS.items()
    }
    at = row or (", line 1" if where.endswith(".csv") else "")
    refuse(
        [
            f"{where}{at}: no column {' or '.join(map(repr, COLUMNS[ours]))}; found: "
            + ", ".join(map(repr, frame.columns))
            for ours, name in names.items()
            if not name
        ]
    )
    return names


def _code(column: pl.Series) -> pl.Expr:
    """An invoice, product or customer as a string: 85048 may be a number in a sheet, 13085 be
    13085.0 in a csv."""
    name = pl.col(column.name)
    if column.dtype.is_float():
        return pl.when(name == name.round()).then(name.cast(pl.Int64, strict=False)).cast(pl.String)
    text = name.cast(pl.String, strict=False)
    return text.str.replace(r"^(\d+)\.0+$", "${1}") if column.name == "user_id" else text


def _moment(column: pl.Series) -> pl.Series:
    """Unix seconds. Strings must be ISO: 12/1/2010 is December in one country and January in
    another."""
    if column.dtype == pl.String:
        iso = column.str.replace("T", " ", literal=True).str.replace(r"^(.{16})$", "${1}:00")
        column = iso.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False)
    elif not column.dtype.is_temporal():
        return pl.repeat(None, len(column), dtype=pl.Int64, eager=True)
    return column.cast(pl.Datetime("us"), strict=False).dt.epoch("s")
