"""Toy files of the reader ``mind``, small enough to check by eye."""

from __future__ import annotations

from pathlib import Path

TRAIN = (
    "1\tU10\t11/9/2019 12:01:13 AM\tN1 N2 N1\tN3-0 N4-1 N5-1\n"
    "2\tU2\t11/9/2019 1:00:00 PM\t\tN3-1\n"  # a user without a history
)

DEV = (
    "1\tU10\t11/14/2019 12:00:00 PM\tN2 N1 N6\tN4-0 N7-1\n"  # the same number as in train
    "2\tU2\t11/14/2019 12:00:00 PM\t\tN7-1 N3-0\n"
    "3\tU2\t11/14/2019 12:00:00 PM\t\tN7-1\n"  # the same click in the same second
)


def news(*ids: int, title: str = "Title") -> str:
    return "".join(
        f'N{i}\tnews\tworld\t"{title}" {i}\tAbout {i}\thttps://x\t[]\t[{{"Label": "x"}}]\n'
        for i in ids
    )


def write(root: Path) -> Path:
    for name, behaviors, ids in (("train", TRAIN, (1, 2, 3, 4, 5)), ("dev", DEV, (4, 7, 3))):
        folder = root / f"MINDsmall_{name}"
        folder.mkdir()
        (folder / "behaviors.tsv").write_bytes(behaviors.encode())
        (folder / "news.tsv").write_bytes(news(*ids).encode())
    return root


CHINESE = 'nid\ttitle\tabstract\nN1\t标题一\t\nN2\t"他说""好"""\t摘要\nN99\t其他\t\n'
