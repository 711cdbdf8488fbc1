from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coldlm.core.errors import DataError
from coldlm.core.tables import UNKNOWN
from coldlm.data.adressa import find, load, problems, read
from toys.adressa import AT, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path)


def test_views_of_articles_are_events(root: Path) -> None:
    tables = read(find(root))
    assert tables.users["user_id"].to_list() == ["CX:A", "cx:a", "cx:b"]
    assert tables.items.rows() == [
        ("x", '- Det blir "fyrverkeri"', "nyheter, trondheim", "utenriks,E6", 1_483_199_328),
        ("y", "Uten tid", "", "", None),
        ("z", "", "", "", None),
    ]
    assert tables.interactions.rows() == [
        (2, 0, AT + 4, 1.0, 2),
        (1, 0, AT + 5, 1.0, 1),
        (1, 1, AT + 100_000, 1.0, 7),
        (0, 1, AT + 100_001, 1.0, 8),
        (1, 0, AT + 100_002, 1.0, 9),
        (2, 2, AT + 100_003, 1.0, 10),
    ]
    assert tables.counts == {
        "views_of_other_pages": 2,
        "views_without_a_user": 2,
        "repeated_views": 1,
        "items_with_several_titles": 1,
        "views_with_an_unreadable_release_time": 1,
        "items_without_metadata": 0,
    }


def test_the_data_set(root: Path) -> None:
    data = load(root=str(root), text="{title} | {category} | {keywords}", cache=str(root))
    assert (data.name, data.domain, data.repeats, data.release) == (
        "adressa",
        "news",
        False,
        "field",
    )
    assert data.items.texts[0] == '- Det blir "fyrverkeri" | nyheter, trondheim | utenriks,E6'
    assert data.items.titles == ('- Det blir "fyrverkeri"', "Uten tid", "item z")
    assert data.items.released_at.tolist() == [1_483_199_328, UNKNOWN, UNKNOWN]
    assert data.counts["items_without_release_time"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-9], "20170102, line 4: not JSON"),
        (lambda b: b.replace(b"\n", b"\n[1, 2]\n", 1), "20170102, line 2: no JSON object"),
        (lambda b: b.replace(b'{"event', b'"event', 1), "20170102, line 1: not JSON"),
        (lambda b: b"eventId,userId,time\n" + b, "20170102, line 1: not JSON"),
        (
            lambda b: b.replace(str(AT + 100_001).encode(), b'"noon"'),
            "20170102, line 2, 'time': 'noon'; expected Int64",
        ),
        (
            lambda b: b.replace(b'"time"', b'"tid"', 1),
            "20170102, line 1, column 'time': nothing; expected Unix seconds",
        ),
        (
            lambda b: b.replace(str(AT + 100_001).encode(), b"1483225203000"),
            "line 2, column 'time': 1483225203000; expected",
        ),
        (lambda b: b"\xef\xbb\xbf" + b, "20170102, line 1: not JSON"),
        (lambda b: b.replace("å".encode(), b"\xe5"), "20170102, line 1: not UTF-8 text"),
        (lambda b: b.replace(b"Uten", b"Ut\0en"), "20170102, line 1: a NUL byte"),
        (lambda b: b"", "20170102: the file is empty"),
    ],
)
def test_damage_is_refused(root: Path, change: Callable[[bytes], bytes], message: str) -> None:
    path = root / "one_week" / "20170102"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        read(find(root))


def test_cr_lf_and_blank_lines_change_nothing(root: Path) -> None:
    before, path = read(find(root)), root / "one_week" / "20170102"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert read(find(root)).interactions.equals(before.interactions)


def test_problems_name_keys_and_ways(root: Path, tmp_path: Path) -> None:
    assert problems(root=str(root)) == problems(root=str(root / "one_week")) == []
    assert "coldlm data fetch adressa" in problems()[0]
    assert "one_week/20170101" in problems(root=str(tmp_path / "nothing"))[0]
    assert (
        len(problems(root=str(root), text="{url}", half_lives_days=[1.0], item_ttl_days=-1.0)) == 3
    )
