"""Toy files of the reader ``atomic``, small enough to check by eye."""

from __future__ import annotations

from pathlib import Path

INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "v\tb\t5\t30\n"
    "u\ta\t4.5\t10.5\n"
    "u\tb\t2\t20\n"
)

ITEM = (
    "item_id:token\tprice:float\tname:token_seq\tyear:token\ttags:token_seq\n"
    "a\t3.5\tRed tea 红茶\t1995\ttea hot\n"
    "b\t\tTea pot\tV\t\n"
    "c\t2\tCup\t2001\tware\n"
)

USER = "user_id:token\tage:float\tjob:token\nu\t24\twriter\nv\t53\tother\n"


def write(
    folder: Path, inter: str = INTER, item: str | None = ITEM, user: str | None = USER
) -> Path:
    for kind, content in (("inter", inter), ("item", item), ("user", user)):
        if content is not None:
            (folder / f"toy.{kind}").write_text(content, encoding="utf-8")
    return folder
