"""Make books.csv and loans.csv of coldlm_example anew: python make_files.py. The same files every
time.

Readers like some subjects and not others, so that titles say something about who borrows what.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

FOLDER = Path(__file__).parent / "src" / "coldlm_example" / "files"

SUBJECTS = {
    "sea": (
        ["Harbour", "Lighthouse", "Tide", "Island", "Voyage"],
        ["港口", "灯塔", "潮水", "海岛", "远航"],
    ),
    "stars": (
        ["Comet", "Telescope", "Orbit", "Moon", "Galaxy"],
        ["彗星", "望远镜", "轨道", "月亮", "银河"],
    ),
    "garden": (
        ["Orchard", "Rose", "Beehive", "Greenhouse", "Seed"],
        ["果园", "玫瑰", "蜂巢", "温室", "种子"],
    ),
    "kitchen": (
        ["Bread", "Noodle", "Soup", "Oven", "Spice"],
        ["面包", "面条", "汤", "炉灶", "香料"],
    ),
    "city": (
        ["Bridge", "Station", "Market", "Tower", "Street"],
        ["桥", "车站", "集市", "高楼", "街道"],
    ),
    "mountain": (
        ["Glacier", "Summit", "Valley", "Forest", "Cave"],
        ["冰川", "山顶", "山谷", "森林", "洞穴"],
    ),
}
ENGLISH = (
    "A Short History of the {}",
    "The Silent {}",
    "Letters from the {}",
    "How to Read a {}",
    "Beyond the {}",
)
CHINESE = ("{}简史", "寂静的{}", "{}来信", "如何读懂{}", "{}之外")

READERS, LOANS, DAYS = 40, 600, 60
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    draw = random.Random(7)
    books = [
        (title.format(noun), subject)
        for subject, languages in SUBJECTS.items()
        for titles, nouns in zip((ENGLISH, CHINESE), languages, strict=True)
        for title, noun in zip(titles, nouns, strict=True)
    ]
    draw.shuffle(books)
    # half are there at the beginning, the others are bought one after the other
    days = [
        max(0, round((i - len(books) / 2) * (DAYS - 4) * 2 / len(books))) for i in range(len(books))
    ]
    with (FOLDER / "books.csv").open("w", encoding="utf-8", newline="\n") as file:
        file.write("book,title,subject,acquired\n")
        for i, ((title, subject), day) in enumerate(zip(books, days, strict=True)):
            file.write(f"b{i:02},{title},{subject},{(BEGIN + timedelta(days=day)).date()}\n")
    likes = [draw.sample(list(SUBJECTS), 2) for _ in range(READERS)]
    had: set[tuple[int, int]] = set()
    loans = []
    for seconds in sorted(draw.randrange(8 * 3600, DAYS * 86_400) for _ in range(LOANS)):
        reader = draw.randrange(READERS)
        there = [
            i for i, day in enumerate(days) if day * 86_400 <= seconds and (reader, i) not in had
        ]
        weights = [8 if books[i][1] in likes[reader] else 1 for i in there]
        (book,) = draw.choices(there, weights)
        had.add((reader, book))
        loans.append(f"r{reader:02},b{book:02},{int(BEGIN.timestamp()) + seconds}\n")
    with (FOLDER / "loans.csv").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(["reader,book,seconds\n", *loans])


if __name__ == "__main__":
    main()
