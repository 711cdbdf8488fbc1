"""Toy files of the reader ``adressa``, small enough to check by eye."""

from __future__ import annotations

import json
from pathlib import Path

AT = 1_483_225_203  # 2016-12-31T23:00:03Z


def view(
    seconds: int, user: str | None, item: str | None = None, **more: object
) -> dict[str, object]:
    given = {
        "eventId": 1,
        "url": "http://adressa.no",
        "time": AT + seconds,
        "userId": user,
        "id": item,
        **more,
    }
    return {key: value for key, value in given.items() if value is not None}


NEWS = {
    "title": "- Det blir \"fyrverkeri\"", "publishtime": "2016-12-31T15:48:48.000Z", "category1": "nyheter|trondheim",
    "keywords": "utenriks,E6", "profile": [{"item": "0", "groups": [{"count": 1, "weight": 1.0}]}],
}  # fmt: skip

FIRST = [
    view(0, "cx:a"),  # the front page
    view(5, "cx:a", "x", **{**NEWS, "title": "Changed since"}),
    view(4, "cx:b", "x", **NEWS),  # seen first
    view(5, "cx:a", "x", **NEWS),  # once more in this second
    view(6, None, "x", **NEWS),
    view(6, "", "x", **NEWS),
    view(7, "cx:a", ""),
]

SECOND = [
    view(100_000, "cx:a", "y", title="Uten tid", publishtime="i går"),
    view(100_001, "CX:A", "y"),  # another user
    view(100_002, "cx:a", "x", **NEWS),  # the same article again, later
    view(100_003, "cx:b", "z"),  # nothing is known of it
]


def lines(views: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(view, ensure_ascii=False) + "\n" for view in views).encode()


def write(root: Path) -> Path:
    folder = root / "one_week"
    folder.mkdir()
    (folder / "20170101").write_bytes(lines(FIRST))
    (folder / "20170102").write_bytes(lines(SECOND))
    return root
