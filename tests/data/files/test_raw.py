from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from coldlm.core.errors import DataError
from coldlm.core.files import hash_file
from coldlm.core.tables import UNKNOWN, Items, sorted_log
from coldlm.data.files.fields import read_table
from coldlm.data.files.raw import (
    find_files,
    hash_files,
    header,
    missing_columns,
    name_rows,
    release_counts,
)


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
        (b"a,b\n1,2,3\n", "line 2: 3 fields, expected 2"),
        (b"caf\xe9,b\n1,2\n", "not UTF-8"),
        (b"a,b\n1,caf\xe9\n", "not UTF-8"),
        (b"a,b\n1,2\n3\n", "line 3: 1 fields, expected 2"),
        (b"a,b\n1,2\n3,4", "line 3: no line break at its end"),
        (b"a,b\n1,\0\n", "line 2: a NUL byte"),
        (b'a,b\n1,"x"\na,b\n', "line 3: the header once more"),
    ],
)
def test_malformed_csv_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"bad\.csv[:,] .*{message}"):
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
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert read_table(tmp_path / "t.csv.gz").rows() == [("1", "2")]
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n" * 999)[:-9])
    with pytest.raises(DataError, match=r"t\.csv\.gz, after line 1998: damaged archive"):
        read_table(tmp_path / "t.csv.gz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"a,b\n1,2\n1,2,3\n",
            "line 3: 3 fields, expected 2 separated by ','; quote fields that hold commas",
        ),
        (b"a,b\n1,2\n3,4\ncaf\xe9,b\n", "line 4: not UTF-8 text .*save it anew as UTF-8 text"),
        (
            b'a,b\n1,2\n3,"4\n5,6\n',
            "line 3: cannot be read as csv: unexpected end of data; is a quote not closed",
        ),
    ],
)
def test_a_csv_that_breaks_off_names_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_missing_columns_name_the_nearest_and_all_that_were_found() -> None:
    [problem] = missing_columns(Path("i.csv"), ["itemid", "title"], ["item_id", "title"])
    assert (
        problem
        == "i.csv, line 1: no column 'item_id'; columns found: 'itemid', 'title'; did you mean "
        "'itemid'?"
    )


def test_a_single_column_hints_at_the_delimiter() -> None:
    [problem] = missing_columns(Path("i.csv"), ["item_id;title"], ["item_id"])
    assert "'item_id;title'; only one column: fields must be separated by commas" in problem


def test_files_are_those_of_the_first_folder_that_holds_all_that_is_needed(tmp_path: Path) -> None:
    for name in ("x/a", "y/a", "y/b", "y/d", "a", "b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_files(tmp_path, ["x", "y"], ["a", "b"], ["c", "d"]) == [
        tmp_path / "y" / name for name in "abd"
    ]
    assert find_files(tmp_path, ["x"], ["a", "b"]) == [tmp_path / "a", tmp_path / "b"]
    assert find_files(tmp_path, ["x"], ["a", "c"]) == []


def test_rows_are_counted_from_one() -> None:
    assert name_rows(np.array([False, True])) == "data row 2"
    assert name_rows(np.ones(7, np.bool_)) == "data rows 1, 2, 3, 4, 5 and 2 more"


def test_events_before_the_stated_release_are_counted_but_not_those_of_items_without_one() -> None:
    items = Items(("a", "b"), ("a", "b"), ("a", "b"), np.array([100, UNKNOWN]))
    item, time, one = np.array([0, 0, 0, 1]), np.array([98, 99, 100, 5]), np.ones(4)
    log = sorted_log(np.zeros(4, np.int64), item, time, one, one > 0)
    assert release_counts(items, log) == {
        "items_without_release_time": 1,
        "events_before_release": 2,
    }


def test_files_of_equal_names_are_told_apart_by_as_many_folders_as_it_takes(tmp_path: Path) -> None:
    for folder in ("a/cmn/train", "a/data/cmn/train"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "news.tsv").write_text(folder)
    (tmp_path / "b.tsv").write_text("b")
    files = [*sorted(tmp_path.rglob("news.tsv")), tmp_path / "b.tsv"]
    assert list(hash_files(files)) == ["a/cmn/train/news.tsv", "data/cmn/train/news.tsv", "b.tsv"]
