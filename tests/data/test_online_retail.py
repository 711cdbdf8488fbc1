from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from coldlm.core.errors import DataError
from coldlm.data.online_retail import find, load, problems, read
from toys.online_retail import (
    FIRST,
    NEW,
    SECOND,
    csv_text,
    frame,
    write_book,
    write_csv,
    write_new,
    write_old,
    write_parquet,
    write_times,
)

DATA = Path(os.environ.get("COLDLM_DATA") or "no data")
needs_files = pytest.mark.skipif(
    not (DATA / "online_retail_ii").is_dir(), reason="online_retail_ii is not there"
)


COUNTS = {
    "cancelled_lines": 1,
    "lines_without_quantity_or_price": 2,
    "lines_without_customer": 1,
    "lines_of_no_product": 1,
    "repeated_lines": 1,
    "items_without_metadata": 0,
    "dated_values_of_unknown_items": 0,
}


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())


@pytest.mark.parametrize("make", [write_new, write_old, write_csv, write_parquet, write_times])
def test_all_containers_give_the_same_tables(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    tables = read([make(tmp_path)])
    assert tables.items.to_dict(as_series=False) == {"item_id": ["22087", "79323P", "85048"]}
    assert tables.users["user_id"].to_list() == ["13085", "16321", "17850"]
    assert tables.interactions.rows() == [
        (0, 2, _seconds("2009-12-01 07:45:00"), 1.0, 0),
        (0, 1, _seconds("2009-12-01 07:45:00"), 1.0, 1),
        (1, 0, _seconds("2009-12-02 00:00:00"), 1.0, 8),
        (0, 2, _seconds("2010-12-01 08:26:00"), 1.0, 9),
        (2, 2, _seconds("2010-12-01 08:28:00"), 1.0, 10),
    ]
    assert tables.dated.rows() == [
        (2, _seconds("2009-12-01 07:45:00"), "description", 'LIGHTS, 15" BALL'),
        (1, _seconds("2009-12-01 07:45:00"), "description", "PINK LIGHTS"),
        (1, _seconds("2009-12-01 07:45:00"), "description", "PINK LIGHTS"),
        (2, _seconds("2010-12-01 08:26:00"), "description", "LIGHTS BALL"),
        (2, _seconds("2010-12-01 08:28:00"), "description", "LIGHTS BALL"),
    ]
    assert tables.counts == COUNTS


def test_codes_that_are_numbers_in_one_sheet_and_text_in_another_are_one_product(
    tmp_path: Path,
) -> None:
    rows = [
        (*row[:1], code, *row[2:]) for row, code in zip(SECOND, (85048.0, "85048"), strict=True)
    ]
    write_book(tmp_path / "online_retail_II.xlsx", NEW, numbers=rows[:1], text=rows[1:])
    assert read([tmp_path / "online_retail_II.xlsx"]).items["item_id"].to_list() == ["85048"]
    pl.DataFrame([SECOND[0]], schema=list(NEW), orient="row").with_columns(
        pl.col("StockCode").cast(pl.Float64), pl.col("Invoice").cast(pl.Float64)
    ).write_parquet(tmp_path / "one.parquet")
    assert read([tmp_path / "one.parquet"]).items["item_id"].to_list() == ["85048"]


def test_overlapping_sheets_count_once(tmp_path: Path) -> None:
    write_book(tmp_path / "online_retail_II.xlsx", NEW, Year_2009=FIRST + SECOND, Year_2010=SECOND)
    tables = read([tmp_path / "online_retail_II.xlsx"])
    assert (len(tables.interactions), tables.counts["repeated_lines"]) == (5, 3)


def test_a_later_description_does_not_show_before_its_time(tmp_path: Path) -> None:
    write_csv(tmp_path)
    data = load(root=str(tmp_path), cache=str(tmp_path / "cache"))
    assert data.repeats
    assert data.release == "after_first"
    assert data.counts == {**COUNTS, "items_without_text": 1}
    lights = data.items.ids.index("85048")
    for moment, text in (
        ("2009-12-01 07:45:00", ""),  # nobody has bought it yet
        ("2009-12-01 07:45:01", 'LIGHTS, 15" BALL'),
        ("2010-12-01 08:28:00", 'LIGHTS, 15" BALL'),  # once each: the earlier
        ("2010-12-01 08:28:01", "LIGHTS BALL"),
    ):
        assert (
            data.with_texts_as_of(*[np.full(3, _seconds(moment))] * 2).items.texts[lights] == text
        )


def test_a_csv_may_start_with_a_mark_and_give_codes_as_floats(tmp_path: Path) -> None:
    plain = read([write_csv(tmp_path)])
    other = tmp_path / "marked.csv"
    text = "\ufeff" + csv_text().replace(",13085,", ",13085.0,").replace(":00,", ",").replace(
        "2009-12-01 ", "2009-12-01T"
    )
    other.write_text(text, encoding="utf-8")
    marked = read([other])
    assert marked.interactions.equals(plain.interactions)
    assert marked.users.equals(plain.users)
    swapped = tmp_path / "swapped.csv"
    pl.read_csv(tmp_path / "retail.csv", infer_schema=False).select(reversed(NEW)).write_csv(
        swapped
    )
    assert read([swapped]).interactions.equals(plain.interactions)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("17850,United Kingdom\r\n", "178", "line 12: no line break at its end: it was cut off"),
        ("17850,United Kingdom\r\n", "178\r\n", "line 12: 7 fields, expected 8"),
        ("17850,", "17850,x,", "line 12: 9 fields, expected 8"),
        ("17850", "17850.5", r"data row 11, column 'Customer ID': '17850\.5' cannot be read"),
        ("17850", "nobody", r"data row 11, column 'Customer ID': 'nobody' cannot be read"),
        (",7.95,17850", ",nan,17850", r"data row 11, column 'Price': 'nan' cannot be read"),
        (
            ",1,2010-12-01 08:28:00",
            ",?,2010-12-01 08:28:00",
            r"data row 11, column 'Quantity': '\?' cannot be read",
        ),
        # 1 December or 12 January?
        (
            "2010-12-01 08:28:00",
            "12/1/2010 8:28",
            r"data row 11, column 'InvoiceDate': '12/1/2010 8:28' cannot be",
        ),
        ("536366,85048", "536366,85\x00048", "line 12: a NUL byte"),
        ("LIGHTS BALL", "LIGHTS\x00 BALL", "line 11: a NUL byte"),
        ("\r\n536366,", '\r\n"536366,', "cannot be read as csv|over two lines|column"),
        ("PINK LIGHTS", '"PINK LIGHTS', "cannot be read as csv|over two lines|column"),
        ("\r\n536365,", f"\r\n{','.join(NEW)}\r\n536365,", "line 11: the header once more"),
        ("Invoice,", "StockCode,", "column 'StockCode' appears twice"),
        (",", ";", "no column 'Invoice' or 'InvoiceNo'"),
        (NEW[0], "Number", "no column 'Invoice' or 'InvoiceNo'; found: 'Number'"),
    ],
)
def test_damaged_csv_is_refused_with_its_row(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = csv_text()
    assert old in text
    (tmp_path / "retail.csv").write_text(text.replace(old, new), encoding="utf-8", newline="")
    with pytest.raises(DataError, match=rf"retail\.csv.*({message})"):
        load(root=str(tmp_path), cache=str(tmp_path / "cache"))


def test_latin_1_is_refused(tmp_path: Path) -> None:
    (tmp_path / "retail.csv").write_bytes(csv_text().replace("PINK", "CAFÉ").encode("latin-1"))
    with pytest.raises(DataError, match=r"retail\.csv.*not UTF-8|utf-8"):
        read([tmp_path / "retail.csv"])


@pytest.mark.parametrize("make", [write_new, write_parquet])
def test_a_truncated_or_damaged_container_is_refused_by_name(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    content = path.read_bytes()
    middle = len(content) // 3
    flipped = (
        content[:middle]
        + bytes(255 - byte for byte in content[middle : middle + 40])
        + content[middle + 40 :]
    )
    for damaged in (b"", content[:20], content[:middle], content[:-1], flipped):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
            read([path])


def test_a_flipped_bit_of_a_sheet_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = write_new(tmp_path)
    whole, content = read([path]), path.read_bytes()
    refused = 0
    for place in range(0, len(content), 67):
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        try:
            tables = read([path])
        except DataError as error:
            assert path.name in str(error)  # noqa: PT017
            refused += 1
        else:
            assert tables.interactions.equals(whole.interactions)
            assert tables.dated.equals(whole.dated)
    assert refused > 50


def test_a_damaged_page_of_a_parquet_file_is_a_data_error_and_no_panic(tmp_path: Path) -> None:
    path = write_parquet(tmp_path)
    content = path.read_bytes()
    refused = 0
    for place in range(
        4, len(content), 31
    ):  # parquet has no checksums: some flips only change a value
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        try:
            read([path])
        except DataError as error:
            assert path.name in str(error)  # noqa: PT017
            refused += 1
    assert refused > 20


def test_a_sheet_and_its_row_are_named(tmp_path: Path) -> None:
    wrong = [
        *SECOND,
        (536367, 85048, "LIGHTS", "some", "2010-12-01 08:30:00", 7.95, 17850, "United Kingdom"),
    ]
    path = tmp_path / "online_retail_II.xlsx"
    write_book(path, NEW, Year_2009=FIRST, Year_2010=wrong)
    with pytest.raises(
        DataError, match=r"II\.xlsx, sheet 'Year 2010', row 4, column 'Quantity': 'some' cannot be"
    ):
        read([path])
    write_book(path, NEW[1:], Year_2010=[])
    with pytest.raises(
        DataError, match=r"II\.xlsx, sheet 'Year 2010', row 1: no column 'Invoice' or 'InvoiceNo'"
    ):
        read([path])


def test_times_as_numbers_are_refused(tmp_path: Path) -> None:
    frame().with_columns(InvoiceDate=pl.lit(1_259_653_500)).write_parquet(
        tmp_path / "retail.parquet"
    )
    with pytest.raises(
        DataError,
        match=r"retail\.parquet, data row 1, column 'InvoiceDate': 1259653500 cannot be read",
    ):
        read([tmp_path / "retail.parquet"])


def test_all_problems_come_together_and_name_what_to_do(tmp_path: Path) -> None:
    found = problems(root=str(tmp_path), text="{price}", half_lives_days=[7.0], item_ttl_days=0.0)
    assert [problem.split(":")[0] for problem in found] == [
        "dataset.text='{price}'",
        "dataset.half_lives_days=[7.0]",
        "dataset.item_ttl_days=0.0",
        f"dataset.root={tmp_path}",
    ]
    for way in (
        "coldlm data fetch online_retail",
        "archive.ics.uci.edu",
        "online_retail_ii/",
        "COLDLM_DATA",
    ):
        assert way in found[-1]
    [problem] = problems()
    assert "neither COLDLM_DATA nor dataset.root" in problem
    with pytest.raises(DataError, match="neither COLDLM_DATA"):
        load()


def test_files_are_found_in_the_folder_or_in_the_root_newest_edition_first(tmp_path: Path) -> None:
    old = write_old(tmp_path)
    assert find(tmp_path) == [old]
    new = write_new(tmp_path)
    assert find(tmp_path) == [new]
    (tmp_path / "online_retail_ii").mkdir()
    inside = write_csv(tmp_path / "online_retail_ii")
    assert find(tmp_path) == [inside]
    assert problems(root=str(tmp_path)) == []


@pytest.mark.real_data
@needs_files
def test_the_real_file_holds_the_published_counts(tmp_path: Path) -> None:
    data = load(root=str(DATA), cache=str(tmp_path))
    policies = {
        "cancelled_lines": 10_206,
        "lines_without_quantity_or_price": 3_690,
        "lines_without_customer": 103_901,
        "lines_of_no_product": 1_369,
        "repeated_lines": 12_683,
    }
    assert {name: data.counts[name] for name in policies} == policies
    assert (len(data.users), len(data.items), len(data.log)) == (4_285, 4_006, 393_612)
    assert len(data.log) + sum(policies.values()) == 525_461
    assert data.log.time.min() == _seconds("2009-12-01 07:45:00")
