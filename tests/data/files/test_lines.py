from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from coldlm.core.errors import DataError
from coldlm.data.files.lines import check_whole, csv_rows, json_lines, read_objects, text_lines

OBJECTS = b'{"id":"a","n":1,"other":[1]}\n{"n":2,"id":"b"}\n{"id":"c"}\n'
KINDS: dict[str, type[pl.DataType]] = {"id": pl.String, "n": pl.Int64}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def test_what_was_cut_off_or_is_no_archive_is_refused(tmp_path: Path) -> None:
    path, packed = tmp_path / "t.csv", tmp_path / "t.csv.gz"
    with pytest.raises(DataError, match=r"t\.csv: no such file"):
        check_whole(path)
    with pytest.raises(
        DataError, match=r"t\.csv: the file is empty; download it again, or save it anew"
    ):
        check_whole(write(path, b""))
    with pytest.raises(
        DataError,
        match=r"t\.csv, line 2: no line break at its end: it was cut off \(if not, add one\); download it again",
    ):
        check_whole(write(path, b"a\nb"))
    check_whole(path, line_break=False)
    check_whole(write(path, b"a\n"))
    check_whole(write(packed, b"a\nb"))
    packed.write_bytes(b"a\n")
    with pytest.raises(DataError, match=r"t\.csv\.gz: no gzip archive; .* take \.gz from its name"):
        check_whole(packed)


@pytest.mark.parametrize("name", ["t.txt", "t.txt.gz"])
def test_lines_are_text_and_keep_all_they_hold(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, '\ufeff"é\r\n\x01 b\rc\nd'.encode())
    assert list(text_lines(path)) == ['\ufeff"é\r\n', "\x01 b\rc\n", "d"]
    write(path, b"a\n\xe9\n")
    assert list(text_lines(path, encoding="latin-1")) == ["a\n", "é\n"]
    assert list(text_lines(path, errors="replace")) == ["a\n", "\ufffd\n"]
    with pytest.raises(DataError, match=r"line 2: not UTF-8 text \(.*save it anew as UTF-8 text"):
        list(text_lines(path))
    with pytest.raises(DataError, match="line 3: a NUL byte"):
        list(text_lines(write(path, b"a\nb\n\0\n")))


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_rows_of_a_csv_keep_quotes_and_line_breaks(tmp_path: Path, name: str) -> None:
    path = write(
        tmp_path / name, '\ufeff"id",text\r\n1,"a ""b""\r\nc"\r\n2,d\re\r\n\r\n3,'.encode()
    )
    assert list(csv_rows(path)) == [
        (1, ["id", "text"]),
        (3, ["1", 'a "b"\nc']),
        (4, ["2", "d e"]),
        (5, []),
        (6, ["3", ""]),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'id,text\n1,"a\n2,b\n',
            r"line 2: cannot be read as csv: unexpected end of data; is a quote not closed",
        ),
        (b'id,text\n1,"a"b\n', r"line 2: cannot be read as csv: ',' expected"),
        (b'id,text\n1,"a\nb"\n2,"a"b\n', "line 4: cannot be read as csv"),
        (b"id,text\n1,a\0\n", "line 2: a NUL byte"),
        (b"id,text\n1,caf\xe9\n", "line 2: not UTF-8 text"),
    ],
)
def test_damaged_rows_are_refused_with_their_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=rf"t\.csv, {message}"):
        list(csv_rows(write(tmp_path / "t.csv", content)))


@pytest.mark.parametrize("name", ["t.json", "t.json.gz", "t[1] *.json"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n \n"])
def test_objects_lack_what_a_line_lacks(tmp_path: Path, name: str, end: bytes) -> None:
    path = write(tmp_path / name, OBJECTS.replace(b"\n", end).rstrip())
    assert read_objects(path, KINDS).rows() == [(1, "a", 1), (2, "b", 2), (3, "c", None)]
    step = end.count(b"\n")
    assert list(json_lines(path))[1:] == [
        (1 + step, {"n": 2, "id": "b"}),
        (1 + 2 * step, {"id": "c"}),
    ]


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OBJECTS[:-3], "line 3: not JSON"),
        (b"\xef\xbb\xbf" + OBJECTS, "line 1: not JSON"),
        (OBJECTS.replace(b'"b"', b'"b\0"'), "line 2: a NUL byte"),
        (OBJECTS.replace(b"b", b"\xe9"), "line 2: not UTF-8 text"),
        (OBJECTS.replace(b'{"n":2', b'[{"n":2'), "line 2: not JSON"),
        (OBJECTS.replace(b":2", b":NaN"), "line 2: not JSON: NaN is no number"),
        (OBJECTS.replace(b"}\n{", b"}{", 1), "line 1: not JSON"),
        (OBJECTS.replace(b'{"n":2,"id":"b"}', b"[2]"), "line 2: no JSON object"),
    ],
)
def test_damaged_objects_are_refused_with_their_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = write(tmp_path / name, content)
    readers: tuple[Callable[[], object], ...] = (
        lambda: read_objects(path, KINDS),
        lambda: list(json_lines(path)),
    )
    for reader in readers:
        with pytest.raises(DataError, match=rf"{name.replace('.', '[.]')}, {message}"):
            reader()


def test_values_of_another_type_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.json, line 2, 'n': '2'; expected Int64"):
        read_objects(write(tmp_path / "t.json", OBJECTS.replace(b":2", b':"2"')), KINDS)
    with pytest.raises(DataError, match=r"t\.json: the file is empty"):
        read_objects(write(tmp_path / "t.json", b""), KINDS)
    with pytest.raises(DataError, match=r"t\.json: no rows"):
        read_objects(write(tmp_path / "t.json", b"\n"), KINDS)
    with pytest.raises(DataError, match=r"t\.json\.gz: (no rows|cannot be read as JSON lines)"):
        read_objects(write(tmp_path / "t.json.gz", b""), KINDS)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    content = OBJECTS.splitlines(keepends=True)[0] * 5000
    whole, path = gzip.compress(content), tmp_path / "t.json.gz"
    readers: tuple[Callable[[], object], ...] = (
        lambda: read_objects(path, KINDS),
        lambda: list(json_lines(path)),
    )
    for damaged in (
        whole[: len(whole) // 2],
        whole[:-4],
        whole[:-5] + b"xxxxx",
        content[:999],
        b"\x1f\x8b",
    ):
        path.write_bytes(damaged)
        for reader in readers:
            with pytest.raises(DataError, match=r"t\.json\.gz"):
                reader()
