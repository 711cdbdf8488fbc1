"""Toy files of the reader ``microlens``, small enough to check by eye."""

from __future__ import annotations

from pathlib import Path

PAIRS = "user,item,timestamp\n10,2,1583378629552\n7,30,1583378629000\n10,2,1583378629552\n7,2,1583378629999\n"

TITLES = 'item,title\n30,"Gu long song, gaga # comic"\n2,"he said ""no"""\n4,看到最后 # 搞笑\n'


def write(root: Path) -> Path:
    for folder, titles in (
        ("MicroLens-50k-Dataset", "MicroLens-50k_titles.csv"),
        ("microlens_100k", "titles.csv"),
    ):
        (root / folder).mkdir()
        (root / folder / titles).write_text(TITLES, encoding="utf-8")
        name = f"MicroLens-{'100k' if '100k' in folder else '50k'}_pairs.csv"
        (root / folder / name).write_text(PAIRS)
    return root
