"""Toy files of the reader ``own``, small enough to check by eye."""

from __future__ import annotations

from pathlib import Path

ITEMS = "item_id,title,brand,price\na,Red tea,Oolong House,3.5\nb,Tea pot 🫖,,20\n"

EVENTS = "user_id,item_id,timestamp\nv,b,30\nu,a,10\nu,b,20\n"


def write(
    folder: Path, items: str = ITEMS, events: str = EVENTS, users: str | None = None
) -> dict[str, str]:
    paths = {"items": folder / "items.csv", "interactions": folder / "events.csv"}
    for path, content in zip(paths.values(), (items, events), strict=True):
        path.write_text(content, encoding="utf-8")
    if users is not None:
        paths["users"] = folder / "users.csv"
        paths["users"].write_text(users, encoding="utf-8")
    return {key: str(path) for key, path in paths.items()}
