"""Which of some files is the table of interactions, of items, of users, and what their columns are, by
the names of the columns. A guess is for a person to confirm: no run makes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coldlm.core.errors import DataError
from coldlm.data.files.columns import RELEASED, TABLES, Column, listed
from coldlm.data.files.figures import plain
from coldlm.data.files.labels import LIKE_A_LABEL
from coldlm.data.files.own import Keys, open_table
from coldlm.data.files.raw import refuse
from coldlm.data.files.table import KINDS, Table


@dataclass
class Guess:
    """``files``: kind of table -> its path. ``columns``: our name -> theirs, one or several. ``label``: the
    column of the label. ``hints``: what else the files seem to hold, which was not taken."""

    files: dict[str, Path] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)
    label: str | None = None
    hints: list[str] = field(default_factory=list)


def guess(paths: Sequence[Path], keys: Keys) -> Guess:
    """Return what the files probably are; ``keys``: what the user says, which stands.

    Raises:
        DataError: see ``table.read``; a file that is no such table, two of one kind, or no interactions
            or items.
    """
    found = Guess()
    for path in paths:
        table = open_table(path, keys)
        kind = _kind(table, keys)
        if kind in found.files:
            raise DataError(
                f"{found.files[kind]} and {path} both look like {kind}; name them: "
                "dataset.interactions=... dataset.items=..."
            )
        found.files[kind] = path
        _columns(table, kind, keys, found)
    refuse(
        [
            f"none of {', '.join(map(str, paths))} looks like {kind}, which has columns such as "
            f"{', '.join(column.name for column in TABLES[kind])}; {KINDS} are read"
            for kind in ("interactions", "items")
            if kind not in found.files
        ]
    )
    return found


def with_guess(keys: dict[str, Any], found: Guess) -> dict[str, Any]:
    """Return the keys of ``own.load`` with what was guessed."""
    columns = {name: names if len(names) > 1 else names[0] for name, names in found.columns.items()}
    files = {kind: str(path) for kind, path in found.files.items()}
    label = keys["label"] or found.label
    return {**keys, **files, "columns": {**keys["columns"], **columns}, "label": label}


def _kind(table: Table, keys: Keys) -> str:
    columns = {column.name: column for each in TABLES.values() for column in each}
    user, item, title = (
        bool(_likely(table, columns[name], keys)) for name in ("user_id", "item_id", "title")
    )
    if user and item:
        return "interactions"
    if user or item or title:
        return "users" if user else "items"
    raise DataError(
        f"{table.header}: no column looks like user_id or item_id; columns found: "
        f"{', '.join(map(repr, table.names))}; dataset.columns.user_id=NAME says which one is"
    )


def _likely(table: Table, column: Column, keys: Keys) -> list[str]:
    """The column itself, as the user or the file calls it, else all that may be it."""
    known = [*listed(keys.columns.get(column.name)), column.name]
    there = [name for name in known if name in table.names]
    return there[:1] or [name for name in table.names if column.means(name)]


def _columns(table: Table, kind: str, keys: Keys, found: Guess) -> None:
    taken = set[str]()
    for column in TABLES[kind]:
        likely = [name for name in _likely(table, column, keys) if name not in taken]
        if len(likely) == 1 or (likely and not column.needed):
            taken.add(likely[0])
            if likely[0] != column.name and not keys.columns.get(column.name):
                names = found.columns.setdefault(column.name, [])
                names += [likely[0]] if likely[0] not in names else []
    others = [name for name in table.names if name not in taken]
    if kind == "interactions" and not keys.label and "label" not in table.names:
        labels = [name for name in others if name.strip().casefold() in LIKE_A_LABEL]
        found.label = labels[0] if len(labels) == 1 else None
    if kind == "items" and not keys.released_at and "released_at" not in table.names:
        found.hints += [
            f"{name!r} looks like a release; dataset.released_at={name} lets new items be measured from "
            "their first event"
            for name in others
            if plain(name) in RELEASED
        ][:1]
