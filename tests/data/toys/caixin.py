"""Toy files of the reader ``caixin``, small enough to check by eye."""

from __future__ import annotations

from pathlib import Path

from coldlm.data import caixin

CLICKS = (
    "1626\t100633811\t1393631935\t早产儿，还能走多久\t26\n"
    '24378\t100645303\t1393637577\t"百忧解"\t1\n'
    '24378\t100645303\t1393637577\t"百忧解"\t1\n'  # once more, in all fields
    '24378\t100645303\t1393637578\t"百忧解"\t1\n'  # read again a second later: kept
    '01626\t100645303\t1393637577\t"百忧解"\t1\n'  # not user 1626
)


def write(root: Path) -> Path:
    (root / caixin.FOLDER).mkdir()
    (root / caixin.FOLDER / "clicks.tsv").write_bytes(CLICKS.encode())
    return root
