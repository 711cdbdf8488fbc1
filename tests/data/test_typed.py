"""A column of texts that were typed before events, and users without a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data import atomic, own

ITEMS = "item_id,title\n1,智能手表\n2,科幻电影\n3,tea\n"

EVENTS = [
    ("ann", 1, 10, "手表"),
    ("ann", 2, 10, "电影"),
    ("", 3, 20, " tea\u00a0time "),
    ("", 1, 20, "tea time"),
    ("", 1, 20, "watch"),
    ("bob", 3, 30, ""),
    ("bob", 3, 30, ""),
    ("", 2, 40, "电影"),
]


def _read_own(folder: Path, rows: list[tuple[object, ...]]) -> Dataset:
    items, events = folder / "items.csv", folder / "events.csv"
    items.write_text(ITEMS, encoding="utf-8")
    lines = ["user_id,item_id,timestamp,query", *(",".join(map(str, row)) for row in rows)]
    events.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return own.load(items=str(items), interactions=str(events))


def _read_atomic(folder: Path, rows: list[tuple[object, ...]]) -> Dataset:
    head = "user_id:token\titem_id:token\ttimestamp:float\tquery:token_seq"
    lines = [head, *("\t".join(map(str, row)) for row in rows)]
    (folder / "shop.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "shop.item").write_text(
        "item_id:token\ttitle:token_seq\n" + ITEMS.split("\n", 1)[1].replace(",", "\t"),
        encoding="utf-8",
    )
    users = "user_id:token\tjob:token\nann\tpilot\nbob\tcook\n"
    (folder / "shop.user").write_text(users, encoding="utf-8")
    return atomic.load(root=str(folder), cache=str(folder / "cache"))


@pytest.mark.parametrize("read", [_read_own, _read_atomic])
def test_what_was_typed_is_read_and_nobody_is_somebody_new(read: object, tmp_path: Path) -> None:
    data: Dataset = read(tmp_path, EVENTS)  # type: ignore[operator]
    log, users = data.log, data.users
    assert log.query is not None
    typed = np.array([*users.queries, ""])[log.query].tolist()
    assert typed == [
        "手表",
        "电影",
        "tea time",
        "tea time",
        "watch",
        "",
        "电影",
    ]  # bob's second line is a repeat
    assert users.queries == ("tea time", "watch", "手表", "电影")
    who = [users.ids[user] for user in log.user]
    assert who[:2] + who[5:6] == ["ann", "ann", "bob"]
    # one search of one second is one user, another text or second another
    assert who[2] == who[3]
    assert len({who[2], who[4], who[6]}) == 3
    assert not {who[2], who[4], who[6]} & {"", "ann", "bob"}
    assert data.counts["searches_without_a_user"] == 4


@pytest.mark.parametrize("read", [_read_own, _read_atomic])
def test_who_neither_has_a_name_nor_searches_is_refused(read: object, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"user_id"):
        read(tmp_path, [*EVENTS, ("", 1, 50, " ")])  # type: ignore[operator]


def test_an_empty_column_is_none(tmp_path: Path) -> None:
    data = _read_own(tmp_path, [("ann", 1, 10, ""), ("ann", 2, 20, "")])
    assert data.log.query is None
    assert data.users.queries == ()
