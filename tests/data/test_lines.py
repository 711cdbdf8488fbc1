from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from coldlm.data.lines import json_lines, read_fields, read_objects
from coldlm.errors import DataError

CSV = b"user,item,n\nU1,a,1\nU2,b,2\n"
OBJECTS = b'{"id":"a","n":1,"other":[1]}\n{"n":2,"id":"b"}\n{"id":"c"}\n'
KINDS: dict[str, type[pl.DataType]] = {"id": pl.String, "n": pl.Int64}


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t[1] *.csv"])
@pytest.mark.parametrize(
    "content",
    [CSV, CSV.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + CSV, b"n,user,item\n1,U1,a\n2,U2,b\n"],
    ids=["plain", "crlf", "mark", "swapped"],
)
def test_equal_tables_are_read_alike(tmp_path: Path, name: str, content: bytes) -> None:
    table = read_fields(_write(tmp_path / name, content), ["user", "item", "n"])
    assert table.rows() == [("U1", "a", "1"), ("U2", "b", "2")]


def test_strings_are_never_stripped_and_optional_columns_may_be_empty(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", b"user,item,n\n U1,,01\nu1,NA,1.0\n")
    assert read_fields(path, ["user", "item"], optional=["item"]).rows() == [(" U1", None), ("u1", "NA")]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_without_a_header_the_first_line_is_a_row(tmp_path: Path, mark: bytes) -> None:
    path = _write(tmp_path / "t.csv", mark + b"U1,a,1\nU2,b,2\n")
    assert read_fields(path, ["user", "item", "n"], has_header=False)["user"].to_list() == ["U1", "U2"]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as csv"),
        (b"user,item,n\n", "no rows"),
        (CSV[:-3] + b"\n", "line 3, column 'n': nothing; expected 3 fields in every line"),
        (CSV[:-4] + b"\n", "line 3, column 'item': nothing; expected 3 fields in every line"),
        (CSV.replace(b"U2,b", b"U2"), "line 3, column 'n': nothing"),
        (CSV.replace(b"b,2", b"b,2,3"), "line 3: 4 fields, expected 3"),
        (CSV.replace(b",", b";"), "no column 'item'; columns found: 'user;item;n'"),
        (CSV.replace(b"item", b"user"), "no column 'item'"),
        (b"user,item,n,n\nU1,a,1,1\n", "column 'n' appears twice"),
        (CSV.replace(b"b", b"\0"), "line 3, column 'item': .*expected no quote"),
        (CSV.replace(b"b", b'"b'), "line 3, column 'item': .*expected no quote"),
        (CSV.replace(b"b", b"b\rb"), "line 3, column 'item': .*expected no quote"),
        (CSV.replace(b"b", b"\xe9"), "line 3: not UTF-8"),
        (CSV.replace(b"\nU2", b"\n\nU2"), "line 3, column 'user': nothing"),
        (CSV.decode().encode("utf-16-le") + b"\n", "no column"),
    ],
)
def test_damaged_tables_are_refused_with_their_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"{name.replace('.', '[.]')}.*{message}"):
        read_fields(_write(tmp_path / name, content), ["user", "item", "n"])


def test_a_plain_table_without_a_line_break_at_its_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv, line 3: no line break at its end: it was cut off; download it again"):
        read_fields(_write(tmp_path / "t.csv", CSV[:-1]), ["user", "item", "n"])
    assert len(read_fields(_write(tmp_path / "t.csv.gz", CSV[:-1]), ["user", "item", "n"])) == 2


@pytest.mark.parametrize("name", ["t.json", "t.json.gz", "t[1] *.json"])
def test_objects_lack_what_a_line_lacks(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name, OBJECTS)
    assert read_objects(path, KINDS).rows() == [("a", 1), ("b", 2), ("c", None)]
    assert list(json_lines(path))[1:] == [(2, {"n": 2, "id": "b"}), (3, {"id": "c"})]


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OBJECTS[:-3], "line 3: not JSON"),
        (b"\xef\xbb\xbf" + OBJECTS, "line 1: not JSON"),
        (OBJECTS.replace(b'"b"', b'"b\0"'), "line 2: not JSON"),
        (OBJECTS.replace(b"b", b"\xe9"), "line 2: not JSON"),
        (OBJECTS.replace(b'{"n":2', b'[{"n":2'), "line 2: not JSON"),
        (OBJECTS.replace(b":2", b":NaN"), "line 2: not JSON: NaN is no number"),
        (OBJECTS.replace(b"}\n{", b"}{", 1), "line 1: not JSON"),
        (OBJECTS.replace(b'{"n":2,"id":"b"}', b"[2]"), "line 2: no JSON object"),
    ],
)
def test_damaged_objects_are_refused_with_their_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = _write(tmp_path / name, content)
    readers: tuple[Callable[[], object], ...] = (lambda: read_objects(path, KINDS), lambda: list(json_lines(path)))
    for reader in readers:
        with pytest.raises(DataError, match=rf"{name.replace('.', '[.]')}, {message}"):
            reader()


def test_values_of_another_type_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.json, line 2, 'n': '2'; expected Int64"):
        read_objects(_write(tmp_path / "t.json", OBJECTS.replace(b":2", b':"2"')), KINDS)
    with pytest.raises(DataError, match=r"t\.json: no rows"):
        read_objects(_write(tmp_path / "t.json", b""), KINDS)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    lines = OBJECTS.splitlines(keepends=True)[0] * 5000
    rows = CSV + b"U1,a,1\n" * 5000
    table, objects = tmp_path / "t.csv.gz", tmp_path / "t.json.gz"
    for content, path, reader in (
        (rows, table, lambda: read_fields(table, ["user", "item", "n"])),
        (lines, objects, lambda: read_objects(objects, KINDS)),
        (lines, objects, lambda: list(json_lines(objects))),
    ):
        whole = gzip.compress(content)
        for damaged in (whole[: len(whole) // 2], whole[:-4], whole[:-5] + b"xxxxx", content[:999], b"\x1f\x8b"):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=path.name.replace(".", "[.]")):
                reader()
