from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from coldlm.core.errors import DataError
from coldlm.data.files.fields import (
    read_numbers,
    read_quoted,
    refuse_lines,
    scan_fields,
    to_numbers,
)
from coldlm.data.files.raw import header

ROWS = b'1\t"a\tx\n2\t\tb"c\n'
CSV = b"user,item,n\nU1,a,1\nU2,b,2\n"
KINDS: dict[str, type[pl.DataType]] = {"user": pl.Int32, "stars": pl.Float32}
NUMBERS = b"user,when,stars\n1,a,3.5\n2,b,4\n"


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def scan_csv(path: Path, needed: Sequence[str] = ("user", "item", "n")) -> pl.DataFrame:
    return (
        scan_fields(path, header(path, needed), header=True, separator=",")
        .select("line", *needed)
        .collect()
    )


# --- lines split at one separator -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz", "t[1] *.tsv"])
@pytest.mark.parametrize(
    "content",
    [ROWS, ROWS.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + ROWS],
    ids=["as it is", "CR LF", "byte order mark"],
)
def test_lines_are_split_at_the_separator_and_nowhere_else(
    tmp_path: Path, name: str, content: bytes
) -> None:
    fields = scan_fields(write(tmp_path / name, content), ("a", "b", "c")).collect()
    assert fields.columns == ["line", "a", "b", "c"]
    assert fields.rows() == [(1, "1", '"a', "x"), (2, "2", "", 'b"c')]


def test_a_header_is_checked_and_left_out_but_counts_as_a_line(tmp_path: Path) -> None:
    fields = scan_fields(
        write(tmp_path / "t.tsv", b"a\tb\n1\t2\n"), ("a", "b"), header=True
    ).collect()
    assert fields.rows() == [(2, "1", "2")]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
def test_what_is_not_utf_8_may_be_latin_1(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "t.dat", '1::Beyoncé\n2::"x\n'.encode(encoding))
    fields = scan_fields(path, ("a", "b"), separator="::", latin_1=True).collect()
    assert fields.rows() == [(1, "1", "Beyoncé"), (2, "2", '"x')]
    write(path, b"1::\xe9\n2::\0\n")
    with pytest.raises(DataError, match=r"line 2: a NUL byte"):
        scan_fields(path, ("a", "b"), separator="::", latin_1=True)


def test_control_characters_are_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b"a,b\n1,x\x01y\x1b\n")
    assert scan_fields(path, ("a", "b"), header=True, separator=",").collect().rows() == [
        (2, "1", "x\x01y\x1b")
    ]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t[1] *.csv"])
@pytest.mark.parametrize(
    "content",
    [CSV, CSV.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + CSV, b"n,user,item\n1,U1,a\n2,U2,b\n"],
    ids=["plain", "crlf", "mark", "swapped"],
)
def test_equal_tables_are_read_alike(tmp_path: Path, name: str, content: bytes) -> None:
    assert scan_csv(write(tmp_path / name, content)).rows() == [
        (2, "U1", "a", "1"),
        (3, "U2", "b", "2"),
    ]


def test_strings_are_never_stripped(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b"user,item,n\n U1,,01\nu1,NA,1.0\n")
    assert scan_csv(path, ("user", "item")).rows() == [(2, " U1", ""), (3, "u1", "NA")]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_without_a_header_the_first_line_is_a_row(tmp_path: Path, mark: bytes) -> None:
    path = write(tmp_path / "t.csv", mark + b"U1,a,1\nU2,b,2\n")
    assert scan_fields(path, ("user", "item", "n"), separator=",").collect()["user"].to_list() == [
        "U1",
        "U2",
    ]


@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"1\t2\t3\n4\t5\n",
            r", line 2: 2 fields, expected 3 separated by '\\t' \(a, b, c\); got '4\\t5'; download it",
        ),
        (b"1\t2\t3\n4\t5\t6\t7\n", ", line 2: 4 fields"),
        (b"1,2,3\n", ", line 1: 1 fields"),
        (b"1\t2\t3\n\n4\t5\t6\n", ", line 2: 1 fields"),
        (b"1\t2\t3\n4\t5\0\t6\n", ", line 2: a NUL byte"),
        (b"1\t2\t3\n4\t\xe9\t6\n", ", line 2: not UTF-8 text"),
    ],
)
def test_damage_is_refused_with_file_and_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=rf"{name.replace('.', '[.]')}{message}"):
        scan_fields(write(tmp_path / name, content), ("a", "b", "c"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"b\ta\n1\t2\n", "line 1: the header is missing or differs"),
        (b"1\t2\n", "line 1: the header is missing or differs"),
        (b"a\tb\n1\t2\na\tb\n", "line 3: the header once more"),
        (b"a\tb\n", "no rows"),
    ],
)
def test_another_header_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        scan_fields(write(tmp_path / "t.tsv", content), ("a", "b"), header=True)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"user,item,n\n", "no rows"),
        (CSV[:-3] + b"\n", "line 3: 2 fields, expected 3"),
        (CSV[:-5] + b"\n", "line 3: 1 fields, expected 3"),
        (CSV.replace(b"U2,b", b"U2"), "line 3: 2 fields, expected 3"),
        (CSV.replace(b"b,2", b"b,2,3"), "line 3: 4 fields, expected 3"),
        (
            CSV.replace(b",", b";"),
            "no column 'item'; columns found: 'user;item;n'; only one column: fields must be",
        ),
        (CSV.replace(b"item", b"user"), "column 'user' appears twice"),
        (CSV.replace(b"item", b"itme"), "no column 'item'.*did you mean 'itme'"),
        (b"user,item,n,n\nU1,a,1,1\n", "column 'n' appears twice"),
        (CSV.replace(b"b", b"\0"), "line 3: a NUL byte"),
        (CSV.replace(b"b", b'"b'), "line 3: a quote"),
        (CSV.replace(b"b", b"b\rb"), "line 3: a carriage return"),
        (CSV.replace(b"item", b'"item"'), "line 1: a quote"),
        (CSV.replace(b"b", b"\xe9"), "line 3: not UTF-8"),
        (CSV.replace(b"\nU2", b"\n\nU2"), "line 3: 1 fields"),
        (CSV + CSV, "line 4: the header once more"),
        (CSV.decode().encode("utf-16-le") + b"\n", "line 1: a NUL byte"),
    ],
)
def test_damaged_tables_are_refused_with_their_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=rf"{name.replace('.', '[.]')}.*{message}"):
        scan_csv(write(tmp_path / name, content))


def test_damaged_and_empty_archives_are_refused(tmp_path: Path) -> None:
    rows = CSV + b"U1,a,1\n" * 5000
    whole, path = gzip.compress(rows), tmp_path / "t.csv.gz"
    for damaged in (
        whole[: len(whole) // 2],
        whole[:-4],
        whole[:-5] + b"xxxxx",
        rows[:999],
        b"\x1f\x8b",
    ):
        path.write_bytes(damaged)
        for scan in (
            lambda: scan_csv(path),
            lambda: scan_fields(path, ("user", "item", "n"), separator=","),
        ):
            with pytest.raises(DataError, match=r"t\.csv\.gz"):
                scan()
    for has_header in (True, False):
        with pytest.raises(DataError, match=r"t\.csv\.gz: (no rows|cannot be read as lines)"):
            scan_fields(write(path, b""), ("user", "item", "n"), header=has_header, separator=",")


# --- csv with quotes --------------------------------------------------------------------------------------------------


def test_texts_keep_quotes_line_breaks_and_lone_carriage_returns_become_blanks(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "t.csv", '\ufeffid,text\r\n1,"a ""b""\r\nc"\r\n2,d\re\r\n3,\r\n'.encode()
    )
    columns = read_quoted(path, ("text", "id"))
    assert columns.select("text", "id", "line").rows() == [
        ('a "b"\nc', "1", 3),
        ("d e", "2", 4),
        ("", "3", 5),
    ]
    assert to_numbers(path, columns, {"id": pl.Int64}).collect()["id"].to_list() == [1, 2, 3]


def test_texts_without_a_header(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b"1,a\n2,b\n")
    assert read_quoted(path, ("id", "text"), names=False).rows() == [(1, "1", "a"), (2, "2", "b")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'id,text\n1,"a\n',
            r"line 2: cannot be read as csv: unexpected end of data; is a quote not closed",
        ),
        (b'id,text\n1,"a"b\n', r"line 2: cannot be read as csv"),
        (b"id,text\n1,a,b\n", "line 2: 3 fields, expected 2"),
        (b"id,text\n1\n", "line 2: 1 fields, expected 2"),
        (b"id,text\n1,a\n\n", "line 3: 0 fields, expected 2"),
        (b"id,text\n1,a\0\n", "line 2: a NUL byte"),
        (b"id,text\n1,caf\xe9\n", "line 2: not UTF-8 text"),
        (b"id,text\n", "no rows"),
        (b"id,text\n1,a", "line 2: no line break at its end"),
        (b"id,word\n1,a\n", "no column 'text'"),
        (b"id,text,id\n1,a,1\n", "column 'id' appears twice"),
    ],
)
def test_damaged_texts_are_refused_with_their_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=rf"table\.csv.*{message}"):
        read_quoted(write(tmp_path / "table.csv", content), ("id", "text"))


# --- values -----------------------------------------------------------------------------------------------------------


def test_the_first_line_that_breaks_any_rule_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", b"1\tx\n2\ty\nz\t3\n\t4\n")
    fields = scan_fields(path, ("a", "b"))
    number = pl.col("a").cast(pl.Int64, strict=False)
    refuse_lines(path, fields, {"b": (pl.col("b") != "5", "no 5")})
    with pytest.raises(
        DataError,
        match=r"t\.tsv, line 2, column 'b': 'y'; expected no y; download it again, or save",
    ):
        refuse_lines(
            path, fields, {"a": (number > 0, "a number"), "b": (pl.col("b") != "y", "no y")}
        )
    with pytest.raises(DataError, match=r"line 3, column 'a': 'z'; expected a number"):
        refuse_lines(path, fields.collect(), {"a": (number > 0, "a number")})
    with pytest.raises(DataError, match=r"line 4, column 'a': nothing; expected a value"):
        refuse_lines(path, fields, {"a": (pl.col("a") != "", "a value")})


def test_a_text_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b'id,text\n1,"a\nb"\nx,c\n')
    with pytest.raises(DataError, match="line 4, column 'id': 'x'; expected a whole number"):
        to_numbers(path, read_quoted(path, ("id", "text")), {"id": pl.Int64})


# --- tables of numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "t[1] *.csv"])
@pytest.mark.parametrize(
    "content",
    [
        NUMBERS,
        b"\xef\xbb\xbf" + NUMBERS,
        NUMBERS.replace(b"\n", b"\r\n"),
        b"stars,when,user\n3.5,a,1\n4,b,2\n",
    ],
)
def test_numbers_read_alike_with_a_byte_order_mark_other_line_ends_or_columns_in_another_order(
    tmp_path: Path, name: str, content: bytes
) -> None:
    assert read_numbers(write(tmp_path / name, content), KINDS).rows() == [(1, 3.5), (2, 4.0)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (NUMBERS[:-1], "line 3: no line break at its end"),
        (b"", "the file is empty"),
        (b"user,when,stars\n", "no rows"),
        (NUMBERS[:-4], "line 3: no line break at its end"),
        (NUMBERS.replace(b",", b";"), r"no column 'stars'.*separated by commas"),
        (NUMBERS.replace(b"2,b,4", b"2,b"), r"line 3: 2 fields, expected 3 separated by ','"),
        (NUMBERS.replace(b"2,b,4", b"2,b,4,9"), r"line 3: 4 fields, expected 3"),
        (NUMBERS.replace(b"2,b,4", b""), r"line 3: 1 fields, expected 3"),
        (NUMBERS.replace(b"2,b,4", b"2,b,"), r"line 3, column 'stars': nothing; expected a number"),
        (
            NUMBERS.replace(b"2,b,4", b"2,b,nan"),
            r"line 3, column 'stars': 'nan'; expected a number",
        ),
        (NUMBERS.replace(b"2,b,4", b"2\0,b,4"), r"line 3: a NUL byte"),
        (
            NUMBERS.replace(b"2,b,4", b"2.0,b,4"),
            r"line 3, column 'user': '2.0'; expected a whole number",
        ),
        (
            NUMBERS.replace(b"2,b,4", b"5000000000,b,4"),
            r"line 3, column 'user': '5000000000'; expected a whole number",
        ),
        (NUMBERS + NUMBERS, r"line 4: the header once more"),
        (b"user,user,stars\n1,1,2\n", "column 'user' appears twice"),
        (NUMBERS.replace(b"2,b,4", b'"2",b,4'), r"line 3: a quote"),
    ],
)
def test_damaged_numbers_are_refused_with_their_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=rf"table\.csv.*{message}"):
        read_numbers(write(tmp_path / "table.csv", content), KINDS)


def test_optional_numbers_may_be_missing_but_not_wrong(tmp_path: Path) -> None:
    path = write(tmp_path / "table.csv", NUMBERS.replace(b",3.5", b","))
    assert read_numbers(path, KINDS, optional=("stars",)).rows() == [(1, None), (2, 4.0)]
    write(path, NUMBERS.replace(b",3.5", b",x"))
    with pytest.raises(DataError, match="line 2, column 'stars': 'x'; expected a number"):
        read_numbers(path, KINDS, optional=("stars",))
    write(path, NUMBERS.replace(b",3.5", b",").replace(b"2,b", b"x,b"))
    with pytest.raises(DataError, match="line 3, column 'user': 'x'; expected a whole number"):
        read_numbers(path, KINDS, optional=("stars",))


def test_a_doubled_separator_and_no_header(tmp_path: Path) -> None:
    path = write(tmp_path / "ratings.dat", b"1::3\n2::4.5\n")
    assert read_numbers(path, KINDS, separator="::", names=False).rows() == [(1, 3.0), (2, 4.5)]
    for content, message in (
        (b"1::3\n2:x:4\n", "line 2: 1 fields"),
        (b"1::3\n2::4::5\n", "line 2: 3 fields"),
    ):
        write(path, content)
        with pytest.raises(DataError, match=message):
            read_numbers(path, KINDS, separator="::", names=False)
