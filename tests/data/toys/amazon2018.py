"""Toy files of the reader ``amazon2018``, small enough to check by eye."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coldlm.data.amazon2018 import find

REVIEWS: list[dict[str, Any]] = [
    {
        "overall": 5.0,
        "reviewerID": "A1",
        "asin": "B001",
        "unixReviewTime": 1518048000,
        "reviewText": 'two\nlines "',
    },
    {
        "overall": 4,
        "verified": True,
        "reviewerID": "A2",
        "asin": "B002",
        "unixReviewTime": 1500000000,
        "vote": "3",
    },
    {
        "overall": 5.0,
        "reviewerID": "A1",
        "asin": "B001",
        "unixReviewTime": 1518048000,
        "reviewText": "once more",
    },
    {"overall": 2.0, "reviewerID": "a1", "asin": "0000031887", "unixReviewTime": 1518048000},
    {"overall": 3.0, "reviewerID": "A2", "asin": "B002", "unixReviewTime": 1518048000},
]

CSV = """B000000001,A1,5.0,1518048000
B000000002,A2ABCDEFGHIJK,4.0,1500000000
B000000001,A1,5.0,1518048000
0000031887,a1,2.0,1518048000
B000000002,A2ABCDEFGHIJK,3.0,1518048000
"""

META: list[dict[str, Any]] = [
    {
        "category": ["Beauty", "Hair &amp; Skin"],
        "description": [
            "<b>Soft</b> &amp; <a href='x'>mild</a>",
            "",
            "<style>p {color: red}</style>5 < 6<br/>end",
        ],
        "title": "Loud &#39;N Clear&trade;",
        "brand": "by\n  Some",
        "feature": [],
        "rank": "2,938,573 in Beauty",
        "main_cat": "All Beauty",
        "also_buy": ["B002"],
        "price": "",
        "asin": "B001",
    },
    {"asin": "B001", "title": "later", "category": []},
    {
        "asin": "B002",
        "title": "var aPageStart = (new Date()).getTime();",
        "description": "护发素",
        "category": [],
    },
    {"asin": "B009", "title": "never rated"},
]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(
    folder: Path, stars: str, name: str = "Gift_Cards_5.json", meta: str | None = None
) -> list[Path]:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(stars, encoding="utf-8", newline="")
    (folder / "meta_Gift_Cards.json").write_text(
        lines(META) if meta is None else meta, encoding="utf-8", newline=""
    )
    return find(folder, "Gift_Cards")
