from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from coldlm.data.delimited import csv_columns, read_numbers, read_text, split_lines, whole_numbers
from coldlm.errors import DataError

KINDS = {"user": pl.Int32, "stars": pl.Float32}
TABLE = b"user,when,stars\n1,a,3.5\n2,b,4\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def read(path: Path, content: bytes) -> list[tuple[object, ...]]:
    path.write_bytes(content)
    return read_numbers(path, KINDS).rows()


@pytest.mark.parametrize(
    "content",
    [
        TABLE,
        b"\xef\xbb\xbf" + TABLE,
        TABLE.replace(b"\n", b"\r\n"),
        b"stars,when,user\n3.5,a,1\n4,b,2\n",
    ],
)
def test_numbers_read_alike_with_a_byte_order_mark_other_line_ends_or_columns_in_another_order(
    path: Path, content: bytes
) -> None:
    assert read(path, content) == [(1, 3.5), (2, 4.0)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE[:-1], "does not end with a line break"),
        (b"", "cut short, or is empty"),
        (b"user,when,stars\n", "no rows"),
        (TABLE[:-4], "does not end with a line break"),
        (TABLE.replace(b",", b";"), r"no column 'stars'.*separated by commas"),
        (TABLE.replace(b"2,b,4", b"2,b"), r"line 3: 2 fields, expected 3 separated by ','"),
        (TABLE.replace(b"2,b,4", b"2,b,4,9"), r"line 3: 4 fields, expected 3"),
        (TABLE.replace(b"2,b,4", b""), r"line 3: 1 fields, expected 3"),
        (TABLE.replace(b"2,b,4", b"2,b,"), r"line 3, column 'stars': '' is no number"),
        (TABLE.replace(b"2,b,4", b"2,b,nan"), r"line 3, column 'stars': 'nan' is no number"),
        (TABLE.replace(b"2,b,4", b"2\0,b,4"), r"line 3, column 'user': '2\\x00' is no whole number"),
        (TABLE.replace(b"2,b,4", b"2.0,b,4"), r"line 3, column 'user': '2.0' is no whole number"),
        (TABLE.replace(b"2,b,4", b"5000000000,b,4"), r"line 3, column 'user': '5000000000' is no whole number"),
        (TABLE + TABLE, r"line 4, column 'user': 'user' is no whole number"),
        (b"user,user,stars\n1,1,2\n", "column 'user' appears twice"),
        (TABLE.replace(b"2,b,4", b'"2",b,4'), r"line 3, column 'user'"),
    ],
)
def test_damaged_numbers_are_refused_with_their_line(path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"table\.csv.*{message}"):
        read(path, content)


def test_optional_numbers_may_be_missing_but_not_wrong(path: Path) -> None:
    path.write_bytes(TABLE.replace(b",3.5", b","))
    assert read_numbers(path, KINDS, optional=("stars",)).rows() == [(1, None), (2, 4.0)]
    path.write_bytes(TABLE.replace(b",3.5", b",x"))
    with pytest.raises(DataError, match="line 2, column 'stars': 'x' is no number"):
        read_numbers(path, KINDS, optional=("stars",))


def test_a_doubled_separator_and_no_header(path: Path) -> None:
    path.write_bytes(b"1::3\n2::4.5\n")
    assert read_numbers(path, KINDS, separator="::", names=False).rows() == [(1, 3.0), (2, 4.5)]
    for content, message in ((b"1::3\n2:x:4\n", "line 2: 1 fields"), (b"1::3\n2::4::5\n", "line 2: 3 fields")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_numbers(path, KINDS, separator="::", names=False)


def test_texts_keep_quotes_line_breaks_and_lone_carriage_returns_become_blanks(path: Path) -> None:
    path.write_bytes('\ufeffid,text\r\n1,"a ""b""\r\nc"\r\n2,d\re\r\n3,\r\n'.encode())
    columns = csv_columns(path, ("text", "id"))
    assert columns.rows() == [('a "b"\nc', "1", 3), ("d e", "2", 4), ("", "3", 5)]
    assert whole_numbers(columns, "id", path).to_list() == [1, 2, 3]


def test_texts_without_a_header(path: Path) -> None:
    path.write_text("1,a\n2,b\n")
    assert csv_columns(path, ("id", "text"), names=False).rows() == [("1", "a", 1), ("2", "b", 2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'id,text\n1,"a\n', r"line 2: not csv \(unexpected end of data\)"),
        (b'id,text\n1,"a"b\n', r"line 2: not csv"),
        (b"id,text\n1,a,b\n", "line 2: 3 fields, expected 2"),
        (b"id,text\n1\n", "line 2: 1 fields, expected 2"),
        (b"id,text\n1,a\0\n", "line 2: a NUL byte"),
        (b"id,text\n1,caf\xe9\n", "line 2: not utf-8 text"),
        (b"id,text\n", "no rows"),
        (b"id,text\n1,a", "does not end with a line break"),
        (b"id,word\n1,a\n", "no column 'text'"),
    ],
)
def test_damaged_texts_are_refused_with_their_line(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"table\.csv.*{message}"):
        csv_columns(path, ("id", "text"))


def test_a_text_that_is_no_number_is_named(path: Path) -> None:
    path.write_text('id,text\n1,"a\nb"\nx,c\n')
    with pytest.raises(DataError, match="line 4, column 'id': 'x' is no whole number"):
        whole_numbers(csv_columns(path, ("id", "text")), "id", path)


def test_lines_are_split_without_quoting_in_the_first_encoding_that_fits(path: Path) -> None:
    for encoding in ("latin-1", "utf-8"):
        path.write_bytes('1|"é\n2|b\n'.encode(encoding))
        assert split_lines(path, "|", 2, ("utf-8", "latin-1")) == [["1", '"é'], ["2", "b"]]
    with pytest.raises(DataError, match=r"line 1: 2 fields, expected 3 separated by '\|'"):
        split_lines(path, "|", 3)
    assert read_text(path) == '1|"é\n2|b\n'
