from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from coldlm.data.fields import refuse_lines, scan_fields
from coldlm.errors import DataError

ROWS = b'1\t"a\tx\n2\t\tb"c\n'


def write(folder: Path, content: bytes, name: str = "t.tsv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [ROWS, ROWS.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + ROWS],
    ids=["as it is", "CR LF", "byte order mark"],
)
def test_lines_are_split_at_the_separator_and_nowhere_else(tmp_path: Path, content: bytes) -> None:
    fields = scan_fields(write(tmp_path, content), ("a", "b", "c")).collect()
    assert fields.columns == ["line", "a", "b", "c"]
    assert fields.rows() == [(1, "1", '"a', "x"), (2, "2", "", 'b"c')]


def test_a_header_is_checked_and_left_out_but_counts_as_a_line(tmp_path: Path) -> None:
    fields = scan_fields(write(tmp_path, b"a\tb\n1\t2\n"), ("a", "b"), header=True).collect()
    assert fields.rows() == [(2, "1", "2")]


def test_gz_and_latin_1_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"1\tx\n"), "t.tsv.gz")
    assert scan_fields(path, ("a", "b")).collect().rows() == [(1, "1", "x")]
    path = write(tmp_path, "1::Beyoncé\n2::x\n".encode("latin-1"))
    assert scan_fields(path, ("a", "b"), separator="::", encoding="latin-1").collect()["b"].to_list() == [
        "Beyoncé",
        "x",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"t\.tsv: the file is empty"),
        (b"1\t2\t3\n4\t5\n", r"t\.tsv, line 2: 2 fields separated by '\\t', expected 3 \(a, b, c\); got '4\\t5'"),
        (b"1\t2\t3\n4\t5\t6\t7\n", "line 2: 4 fields"),
        (b"1,2,3\n", "line 1: 1 fields"),
        (b"1\t2\t3\n\n4\t5\t6\n", "line 2: 1 fields"),
        (b"1\t2\t3\n4\t5\0\t6\n", "line 2: a NUL byte"),
        (b"1\t2\t3\n4\t5\t6", "line 2: the last line has no line end"),
        (b"1\t2\t3\n4\t\xe9\t6\n", "line 2, byte 2 is not UTF-8"),
        (b"1\t2\x01\t3\n", "cannot be read as lines"),
        (b"1\t2\t3\n1\t2\x01\t3\n", "cannot be read as lines"),
    ],
)
def test_damage_is_refused_with_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        scan_fields(write(tmp_path, content), ("a", "b", "c"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"b\ta\n1\t2\n", "line 1: the header is missing or differs"),
        (b"1\t2\n", "line 1: the header is missing or differs"),
        (b"a\tb\n1\t2\na\tb\n", "line 3: the header once more"),
    ],
)
def test_another_header_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        scan_fields(write(tmp_path, content), ("a", "b"), header=True)


def test_a_damaged_gz_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.tsv\.gz: cannot be read as lines"):
        scan_fields(write(tmp_path, gzip.compress(b"1\tx\n" * 999)[:-10], "t.tsv.gz"), ("a", "b"))


def test_the_first_line_that_breaks_any_rule_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, b"1\tx\n2\ty\nz\t3\n")
    fields = scan_fields(path, ("a", "b"))
    number = pl.col("a").cast(pl.Int64, strict=False)
    refuse_lines(path, fields, {"b": (pl.col("b") != "4", "no 4")})
    with pytest.raises(DataError, match=r"t\.tsv, line 2, field 'b': got 'y', expected no y; the file is damaged"):
        refuse_lines(path, fields, {"a": (number > 0, "a number"), "b": (pl.col("b") != "y", "no y")})
    with pytest.raises(DataError, match=r"line 3, field 'a': got 'z', expected a number"):
        refuse_lines(path, fields, {"a": (number > 0, "a number")})
