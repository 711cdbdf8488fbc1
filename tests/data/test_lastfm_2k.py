from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coldlm.core.errors import DataError
from coldlm.data import lastfm_2k
from coldlm.data.lastfm_2k import find, load, problems, read
from toys.lastfm_2k import TAGGED, write

DATA = Path(os.environ.get("COLDLM_DATA") or "no data")
needs_files = pytest.mark.skipif(
    not (DATA / lastfm_2k.FOLDER).is_dir(), reason="hetrec2011-lastfm-2k is not there"
)

JAN, FEB, MAR = 1_230_768_000, 1_233_446_400, 1_235_865_600  # 2009


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path)


def test_the_first_tag_is_the_event(folder: Path) -> None:
    tables = read(find(folder))
    assert tables.items.rows() == [("7", '"Weird Al" Yankovic'), ("07", "Sigur Rós"), ("9", "")]
    assert tables.users.rows() == [("2",), ("3",)]
    assert tables.interactions.rows() == [  # user, item, time, label, line
        (0, 0, JAN, 1.0, 3),
        (1, 0, FEB, 1.0, 4),
        (1, 2, FEB, 1.0, 7),
        (1, 1, MAR, 1.0, 6),
    ]
    assert tables.counts == {
        "tags_dated_before_2005": 1,
        "further_tags_of_a_user_and_artist": 1,
        "tags_without_a_name": 1,
        "items_without_metadata": 1,
        "dated_values_of_unknown_items": 0,
    }
    assert len(tables.impressions) == 0


def test_tags_show_only_after_their_month_began(folder: Path, tmp_path: Path) -> None:
    data = load(root=str(folder.parent), cache=str(tmp_path))
    assert (data.repeats, data.release, data.domain) == (False, "after_first", "music")

    def text(time: int) -> str:
        return data.with_texts_as_of(*[np.full(3, time)] * 2).items.texts[0]

    name = '"Weird Al" Yankovic'
    assert text(JAN) == name
    assert text(JAN + 1) == f"{name} | tropicália"
    assert text(FEB + 1) == f"{name} | tropicália, metal"  # once each: the earlier first
    assert text(MAR + 1) == f"{name} | metal, tropicália"
    assert data.items.titles == (name, "Sigur Rós", "item 9")
    assert data.items.texts[2] == ""
    assert data.counts["items_without_text"] == 1


def test_five_tags_at_most(folder: Path, tmp_path: Path) -> None:
    (folder / "tags.dat").write_text(
        "tagID\ttagValue\n" + "".join(f"{i}\tt{i}\n" for i in range(9))
    )
    rows = "".join(f"2\t7\t{i}\t1\t1\t2009\n" for i in range(9))
    (folder / "user_taggedartists.dat").write_text(
        "userID\tartistID\ttagID\tday\tmonth\tyear\n" + rows
    )
    data = load(root=str(folder), text="{tags}", cache=str(tmp_path)).with_texts_as_of(
        *[np.full(2, FEB)] * 2
    )
    assert data.items.texts[0] == "t0, t1, t2, t3, t4"


def test_the_file_with_milliseconds_gives_the_same_events(folder: Path) -> None:
    dated = read(find(folder))
    (folder / "user_taggedartists.dat").unlink()
    ms = {"3\t2009": MAR, "1\t2009": JAN, "2\t2009": FEB, "6\t1956": -428_716_800}
    lines = TAGGED.replace("day\tmonth\tyear", "timestamp")
    for month, time in ms.items():
        lines = lines.replace(f"\t1\t{month}\r", f"\t{time * 1000}\r")
    (folder / "user_taggedartists-timestamps.dat").write_bytes(lines.encode())
    stamped = read(find(folder))
    assert stamped.interactions.equals(dated.interactions)
    assert stamped.dated.equals(dated.dated)
    assert stamped.counts == dated.counts


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("user_taggedartists.dat", lambda b: b[:-9] + b"\n", "line 7: 4 fields"),
        ("user_taggedartists.dat", lambda b: b[:-3], "line 7: no line break at its end"),
        (
            "user_taggedartists.dat",
            lambda b: b.replace(b"\t", b","),
            "line 1: the header is missing",
        ),
        (
            "user_taggedartists.dat",
            lambda b: b.replace(b"userID\tartistID", b"artistID\tuserID"),
            "line 1: the header",
        ),
        ("user_taggedartists.dat", lambda b: b + b[:38], "line 8: the header once more"),
        (
            "user_taggedartists.dat",
            lambda b: b.replace(b"\t3\t2009", b"\t2009\t3"),
            "line 2, column 'year'",
        ),
        (
            "user_taggedartists.dat",
            lambda b: b.replace(b"\t6\t", b"\t13\t"),
            "line 5, column 'year': '1956'",
        ),
        (
            "user_taggedartists.dat",
            lambda b: b.replace(b"2\t7", b"two\t7", 1),
            "line 2, column 'userID': 'two'",
        ),
        (
            "user_taggedartists.dat",
            lambda b: b.replace(b"2\t7", b"2\t7\0", 1),
            "line 2: a NUL byte",
        ),
        (
            "artists.dat",
            lambda b: b.replace(b"07\t", b"7\t"),
            "line 3, column 'id': '7'; expected a new number",
        ),
        ("artists.dat", lambda b: b.decode().encode("latin-1"), "line 3: not UTF-8 text"),
        ("tags.dat", lambda b: b"\xef\xbb\xbf" + b, "line 1: the header is missing or differs"),
    ],
)
def test_damage_is_refused(
    folder: Path, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=rf"{name}.*{message}"):
        read(find(folder))


def test_a_byte_order_mark_changes_nothing(folder: Path) -> None:
    before = read(find(folder))
    path = folder / "user_taggedartists.dat"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(find(folder)).interactions.equals(before.interactions)


def test_problems_name_keys_and_ways(folder: Path, tmp_path: Path) -> None:
    assert problems(root=str(folder.parent)) == problems(root=str(folder)) == []
    [unset] = problems()
    assert "neither COLDLM_DATA nor dataset.root" in unset
    assert "coldlm data fetch lastfm_2k" in unset
    (folder / "tags.dat").unlink()
    found = problems(root=str(tmp_path), text="{weight}", half_lives_days=[1.0], item_ttl_days=-1.0)
    for part, problem in zip(("{weight}", "half_lives", "ttl", "tags.dat"), found, strict=True):
        assert part in problem
    with pytest.raises(DataError, match=r"holds no artists\.dat"):
        load(root=str(tmp_path))


@pytest.mark.real_data
@needs_files
def test_the_published_counts(tmp_path: Path) -> None:
    data = load(root=str(DATA), cache=str(tmp_path))
    assert (len(data.log), len(data.users)) == (71_062, 1_892)
    assert data.counts["tags_dated_before_2005"] == 5
    assert data.counts["further_tags_of_a_user_and_artist"] == 186_479 - 1 - 5 - 71_062
    assert data.counts["items_without_metadata"] == len(data.items) - 17_632 == 390
    assert len(np.unique(data.log.time)) == 71
