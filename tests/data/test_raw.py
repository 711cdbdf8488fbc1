from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coldlm.data.raw import hash_file, header, missing_columns, name_rows, read_table, release_counts
from coldlm.errors import DataError
from coldlm.tables import UNKNOWN, Items, sorted_log


def test_hash_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert hash_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_csv_is_read_as_strings_that_are_never_stripped(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('﻿a,b\r\n007, x \r\n1.0,"two\nlines"\r\n,NA\r\n'.encode())
    assert header(path) == ["a", "b"]
    assert read_table(path).rows() == [("007", " x "), ("1.0", "two\nlines"), (None, "NA")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a,b\n", "no rows"),
        (b"a,a\n1,2\n", "column 'a' appears twice"),
        (b"a,b\n1,2,3\n", "cannot be read as csv"),
        (b"caf\xe9,b\n1,2\n", "not UTF-8"),
        (b"a,b\n1,caf\xe9\n", "not UTF-8"),
    ],
)
def test_malformed_csv_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"bad\.csv: .*{message}"):
        read_table(path)


def test_damaged_parquet_and_other_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        header(path)
    (tmp_path / "t.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"must end in \.csv or \.parquet"):
        header(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match="is a folder; name the file in it"):
        header(tmp_path)
    with pytest.raises(DataError, match=r"no such file \(seen from /"):
        header(Path("nowhere.csv"))
    (tmp_path / "LOUD.CSV").write_text("a,b\n1,2\n")
    assert read_table(tmp_path / "LOUD.CSV").rows() == [("1", "2")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n1,2,3\n", "line 3 has 3 fields, the header 2; quote fields with commas"),
        (b"a,b\n1,2\n3,4\ncaf\xe9,b\n", "line 4: the byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "line 3: unexpected end of data; is a quote not closed"),
    ],
)
def test_a_csv_that_breaks_off_names_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_missing_columns_name_the_nearest_and_all_that_were_found() -> None:
    [problem] = missing_columns(Path("i.csv"), ["itemid", "title"], ["item_id", "title"])
    assert problem == "i.csv: no column 'item_id'; columns found: 'itemid', 'title'; did you mean 'itemid'?"


def test_a_single_column_hints_at_the_delimiter() -> None:
    [problem] = missing_columns(Path("i.csv"), ["item_id;title"], ["item_id"])
    assert "'item_id;title'; only one column: fields must be separated by commas" in problem


def test_rows_are_counted_from_one() -> None:
    assert name_rows(np.array([False, True])) == "data row 2"
    assert name_rows(np.ones(7, np.bool_)) == "data rows 1, 2, 3, 4, 5 and 2 more"


def test_events_before_the_stated_release_are_counted_but_not_those_of_items_without_one() -> None:
    items = Items(("a", "b"), ("a", "b"), ("a", "b"), np.array([100, UNKNOWN]))
    item, time, one = np.array([0, 0, 0, 1]), np.array([98, 99, 100, 5]), np.ones(4)
    log = sorted_log(np.zeros(4, np.int64), item, time, one, one > 0)
    assert release_counts(items, log) == {"items_without_release_time": 1, "events_before_release": 2}
