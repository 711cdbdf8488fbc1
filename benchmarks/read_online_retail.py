"""Online Retail II as published, a workbook of two sheets, and as parquet of the same rows:
seconds, memory, equality.

Usage: python benchmarks/read_online_retail.py [rows]     by default 525,461, made up
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import xlsxwriter

from coldlm.core.seeding import generator
from coldlm.data import online_retail

ROWS = 525_461


def make(n: int) -> pl.DataFrame:
    """Lines of invoices over two years, of numbers and of codes such as 85123A, some without a
    customer."""
    rng = generator(0, "benchmark")
    code = rng.integers(10_000, 14_000, n)
    start = datetime(2009, 12, 1)
    return pl.DataFrame(
        {
            "Invoice": [str(489_434 + row // 20) for row in range(n)],
            "StockCode": [f"{c}A" if c % 7 == 0 else str(c) for c in code.tolist()],
            "Description": [f"GIFT {c}, RED" for c in code.tolist()],
            "Quantity": rng.integers(-2, 40, n),
            "InvoiceDate": [start + timedelta(minutes=2 * (row // 20)) for row in range(n)],
            "Price": rng.integers(0, 900, n) / 100,
            "Customer ID": [
                None if c == 0 else float(12_000 + c) for c in rng.integers(0, 5_000, n).tolist()
            ],
            "Country": ["United Kingdom"] * n,
        }
    )


def write_book(table: pl.DataFrame, path: Path) -> None:
    """Two sheets, row by row; codes of digits alone are numbers, as in the published workbook."""
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        date = book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        half = len(table) // 2
        for name, part in (("Year 2009-2010", table[:half]), ("Year 2010-2011", table[half:])):
            sheet = book.add_worksheet(name)
            sheet.write_row(0, 0, table.columns)
            for number, row in enumerate(part.iter_rows(), 1):
                for place, value in enumerate(row):
                    if isinstance(value, datetime):
                        sheet.write_datetime(number, place, value, date)
                    elif value is not None:
                        sheet.write(number, place, int(value) if str(value).isdigit() else value)


def read(path: str, tables: str) -> None:
    """The child: reads one file, keeps its tables, prints seconds and gigabytes."""
    before, begin = peak(), time.perf_counter()
    found = online_retail.read([Path(path)])
    print(time.perf_counter() - begin, (peak() - before) / 1e9)
    for name in ("items", "users", "interactions", "dated"):
        getattr(found, name).write_parquet(f"{tables}-{name}")


def peak() -> int:
    """Bytes; not ru_maxrss, which a process inherits from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    """A line per container, and whether both gave the same tables."""
    table = make(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table.write_parquet(folder / "retail.parquet")
        write_book(table, folder / "online_retail_II.xlsx")
        for file in ("retail.parquet", "online_retail_II.xlsx"):
            command = [
                sys.executable,
                __file__,
                str(folder / file),
                str(folder / f"tables of {file}"),
            ]
            said = subprocess.run(
                command, check=True, capture_output=True, text=True
            ).stdout.split()
            print(
                f"{file:<24} {len(table):,} rows: {float(said[0]):6.1f} s, {float(said[1]):.2f} GB "
                "above the imports"
            )
        for part in ("items", "users", "interactions", "dated"):
            both = [pl.read_parquet(folder / f"tables of {file}-{part}") for file in
                    ("retail.parquet", "online_retail_II.xlsx")]  # fmt: skip
            assert both[0].equals(both[1]), f"{part} differ"
        print(f"the same tables: {len(both[0]):,} descriptions")


if __name__ == "__main__":
    read(*sys.argv[1:]) if len(sys.argv) == 3 else main()
