"""Toy files of the reader ``amazon2023``, small enough to check by eye."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coldlm.data.amazon2023 import find

STARS = """user_id,parent_asin,rating,timestamp
AGKHLEW2SOWHNMFQIJGBECAF7INQ,B081TJ8YS3,4.0,1588687728923
AFSKPY37N3C43SOI5IEXEK5JSIYA,B000000001,5.0,1588687728001
AGKHLEW2SOWHNMFQIJGBECAF7INQ,B00MISSING,3.0,1600000000000
AGKHLEW2SOWHNMFQIJGBECAF7INQ,B081TJ8YS3,4.0,1588687728923
AGKHLEW2SOWHNMFQIJGBECAF7INQ,B081TJ8YS3,1.0,1588687728923
afskpy37n3c43soi5iexek5jsiya,B000000001,2.0,1500000000999
"""

META: list[dict[str, Any]] = [
    {
        "main_category": "All Beauty",
        "title": "Soap &amp; Water \n 5 < 6 &lt;b&gt;",
        "average_rating": 4.8,
        "rating_number": 10,
        "features": ["Mild", " ", "Green &#39;leaf&#39;"],
        "description": ["Long.", "Longer."],
        "price": None,
        "store": "H &amp; M",
        "categories": ["Beauty & Personal Care", "Soap"],
        "details": {"Best Sellers Rank": "1"},
        "parent_asin": "B000000001",
        "bought_together": None,
    },
    {"title": "never rated", "parent_asin": "B00UNRATED", "categories": []},
    {"title": "another soap", "parent_asin": "B000000001", "categories": ["Late"]},
    {
        "title": "发膜",
        "parent_asin": "B081TJ8YS3",
        "categories": [],
        "store": None,
        "features": None,
    },
    {"title": "never rated, again", "parent_asin": "B00UNRATED"},
]


def meta_lines(rows: list[dict[str, Any]] = META) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(
    folder: Path, stars: str = STARS, meta: str | None = None, category: str = "All_Beauty"
) -> list[Path]:
    folder.mkdir(exist_ok=True)
    (folder / f"{category}.csv").write_text(stars, encoding="utf-8", newline="")
    (folder / f"meta_{category}.jsonl").write_text(
        meta_lines() if meta is None else meta, encoding="utf-8", newline=""
    )
    return find(folder, category)


def reviews(stars: str = STARS) -> str:
    """The same stars as reviews, with all keys that the published ones have."""
    lines = [line.split(",") for line in stars.splitlines()[1:]]
    return "".join(
        json.dumps(
            {
                "rating": float(rating), "title": "Five stars", "text": "I took it, and it was "
                                                                        "good", "images": [],
                "asin": "B0VARIANT0", "parent_asin": item, "user_id": user, "timestamp": int(time),
                "helpful_vote": 7, "verified_purchase": True,
            }
        ) + "\n"
        for user, item, rating, time in lines
    )  # fmt: skip
