"""Toy files of the reader ``online_retail``, small enough to check by eye."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import xlsxwriter

NEW = (
    "Invoice",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "Price",
    "Customer ID",
    "Country",
)

OLD = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)

Line = tuple[object, ...]

FIRST: list[Line] = [
    (489434, 85048, 'LIGHTS, 15" BALL', 12, "2009-12-01 07:45:00", 6.95, 13085, "United Kingdom"),
    (489434, "79323P", "PINK LIGHTS", 12, "2009-12-01 07:45:00", 6.75, 13085, "United Kingdom"),
    # repeated
    (
        489434,
        "79323P",
        "PINK LIGHTS",
        6,
        "2009-12-01 07:45:00",
        6.75,
        13085,
        "United Kingdom",
    ),
    # cancelled
    (
        "C489449",
        22087,
        "BUNTING",
        -12,
        "2009-12-01 10:33:00",
        2.95,
        16321,
        "Australia",
    ),
    (489450, 22087, "BUNTING", -1, "2009-12-01 10:34:00", 2.95, 16321, "Australia"),  # quantity
    (489450, 22087, "BUNTING", 1, "2009-12-01 10:34:00", 0, 16321, "Australia"),  # price
    (489451, 22087, None, 1, "2009-12-01 10:35:00", 2.95, None, "EIRE"),  # no customer
    (489452, "POST", "POSTAGE", 1, "2009-12-01 10:36:00", 18, 16321, "EIRE"),  # no product
    (489453, 22087, None, 1, "2009-12-02 00:00:00", 2.95, 16321, "EIRE"),  # no description
]

SECOND: list[Line] = [
    (536365, 85048, "LIGHTS BALL", 1, "2010-12-01 08:26:00", 7.95, 13085, "United Kingdom"),
    (536366, 85048, "LIGHTS BALL", 1, "2010-12-01 08:28:00", 7.95, 17850, "United Kingdom"),
]


def write_book(path: Path, names: tuple[str, ...], **sheets: list[Line]) -> None:
    with xlsxwriter.Workbook(path) as book:
        date = book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        for title, rows in sheets.items():
            sheet = book.add_worksheet(title.replace("_", " "))
            sheet.write_row(0, 0, names)
            for number, row in enumerate(rows, 1):
                for place, value in enumerate(row):
                    if (
                        names[place] == "InvoiceDate"
                        and isinstance(value, str)
                        and value[:2] == "20"
                    ):
                        sheet.write_datetime(number, place, datetime.fromisoformat(value), date)
                    elif value is not None:
                        sheet.write(number, place, value)


def write_new(folder: Path) -> Path:
    write_book(folder / "online_retail_II.xlsx", NEW, Year_2009=FIRST, Year_2010=SECOND)
    return folder / "online_retail_II.xlsx"


def write_old(folder: Path) -> Path:
    write_book(folder / "Online Retail.xlsx", OLD, Online_Retail=FIRST + SECOND)
    return folder / "Online Retail.xlsx"


def quoted(value: object) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


def csv_text(names: tuple[str, ...] = NEW, rows: list[Line] = FIRST + SECOND) -> str:
    return "".join(",".join(map(quoted, row)) + "\r\n" for row in (names, *rows))


def write_csv(folder: Path) -> Path:
    (folder / "retail.csv").write_text(csv_text(), encoding="utf-8", newline="")
    return folder / "retail.csv"


def frame() -> pl.DataFrame:
    columns = dict(zip(NEW, map(list, zip(*(FIRST + SECOND), strict=True)), strict=True))
    strings = {
        name: [None if v is None else str(v) for v in columns[name]]
        for name in ("Invoice", "StockCode")
    }
    floats = {
        name: [None if v is None else float(str(v)) for v in columns[name]]
        for name in ("Price", "Customer ID")
    }
    return pl.DataFrame({**columns, **strings, **floats})


def write_parquet(folder: Path) -> Path:
    frame().write_parquet(folder / "retail.parquet")
    return folder / "retail.parquet"


def write_times(folder: Path) -> Path:
    times = pl.col("InvoiceDate").str.to_datetime("%Y-%m-%d %H:%M:%S")
    frame().with_columns(times).write_parquet(folder / "retail.parquet")
    return folder / "retail.parquet"
