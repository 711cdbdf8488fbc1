"""Your own data: a table of items and one of interactions, in almost any form that people have them,
and optionally one of users.

| file | columns |
|---|---|
| items | ``item_id``; any text columns; ``title`` if there is one; ``released_at`` if it is known |
| interactions | ``user_id``, ``item_id``, ``timestamp``; ``label`` and ``query`` if there are such |
| users | ``user_id``; any text columns |

Kinds of files: see ``files/table.py``. Ids are compared exactly: " 1" is not "1", "a" is not "A". What is
found out about the files (encoding, separator, format of times, template of texts) is stated in
``Dataset.found``; what could be one thing or another is refused with both readings, and what cannot be
read with file, column and row; every policy that touched a row or a text is counted in
``Dataset.counts``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.canonical.reader import with_defaults_of
from coldlm.data.canonical.remembered import remembered
from coldlm.data.files.columns import Names, column_key_problems
from coldlm.data.files.dialect import dialect_key_problems
from coldlm.data.files.labels import parse_actions
from coldlm.data.files.own import Keys, Notes, OwnFiles, open_tables, read_own
from coldlm.data.files.raw import hash_files, refuse, three, time_scale_problems

WAYS = (
    "dataset=own reads files of yours: dataset.items=items.csv (item_id and text columns) "
    "dataset.interactions=interactions.csv (user_id, item_id, timestamp, optionally label); csv, tsv, "
    "jsonl, parquet or xlsx. coldlm data check FILES says what a run would make of them. "
    "Without any, dataset=simulated makes a world, and dataset=video/movielens_latest_small reads "
    "a public data set"
)

_LAST: list[Dataset] = []
"""What ``problems`` has read whole, for ``load``, which comes next."""


def load(
    *,
    items: str | None = None,
    interactions: str | None = None,
    users: str | None = None,
    name: str = "own",
    columns: dict[str, str | list[str] | None] = {},  # noqa: B006  never changed
    text: str | None = None,
    label: str | None = None,
    actions: dict[str, float] | str | None = None,
    positive_from: float | None = None,
    repeats: bool = False,
    unlisted_items: Literal["refuse", "keep"] = "refuse",
    released_at: str | None = None,
    time_format: str | None = None,
    released_format: str | None = None,
    day_first: bool | None = None,
    encoding: str | None = None,
    separator: str | None = None,
    sheet: str | dict[str, str] | None = None,
    half_lives_days: list[float] = [1.0, 7.0, 30.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    groups: list[str] = [],  # noqa: B006  never changed
) -> Dataset:
    """Return the canonical tables from two or three files.

    Args:
        items, interactions, users: paths, see above. Without ``users``, and for users it lacks,
            profile texts are "".
        name: of the data set, in every result row.
        columns: ``user_id``, ``item_id``, ``timestamp`` or ``title`` -> what the files call it; a list
            where they call it differently.
        text: template over the columns of ``items``. By default all text columns but ``item_id``
            and the release, ``title`` first, joined by " | "; a column of strings counts as text unless
            all its values are figures ("1,137", "$3.99", "12%", "N/A"), or its name says that a crowd
            made it (``files/figures.py``). Numbers and lists enter where the template names them.
        label: the column of ``interactions`` with the label; ``label`` by default, if there is one.
        actions: what that column holds -> the label that it stands for, such as {view: 0, cart: 3, buy:
            5}; or that as text.
        positive_from: a label of at least this is a positive. By default a label above 0 is, and
            without labels every event.
        repeats: whether a user may take an item again.
        unlisted_items: "refuse" interactions with an item that ``items`` lacks, or "keep" them; such an
            item has no text.
        released_at: the column of ``items`` with the release time; ``released_at`` by default, if
            there is one. Empty means unknown. Without such a column items enter the candidates
            after their first event.
        time_format, released_format: of the two columns of times, see ``files/formats.FORMATS``; found
            out by default.
        day_first: whether 1/2/2024 is in February; needed where no row tells.
        encoding: of text files that are neither UTF-8 nor marked as UTF-16.
        separator: between the fields of text files, one character, or comma, tab, semicolon or pipe;
            found out by default.
        sheet: of xlsx files, a name, or a name by kind of table ({items: goods, interactions: sales});
            the first by default.
        half_lives_days: of the decayed counts, three, ascending.
        item_ttl_days: how long an item stays a candidate.
        groups: columns of ``users`` by whose values users are told apart in tables.

    ``query``: what the user typed into a search box before the event, empty for nothing. With it,
    ``user_id`` may be empty: a user of their own, see ``typed.with_anonymous``.

    Event ids are row numbers of ``interactions``, from 0; where times have fractions of a second, in the
    order of time. Rows that repeat user, item, second, label and query of an earlier row are dropped and
    counted. Line breaks, NUL and runs of blanks in texts become one blank.

    Raises:
        DataError: see ``problems``.
    """
    keys = dict(locals())
    refuse(_key_problems(**keys) + _path_problems(**keys))
    return _read(**keys)


@with_defaults_of(load)
def problems(**keys: Any) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting. Files are read whole, so that a bad
    row is told before anything slow begins: wrong keys; missing, wrong or repeated ids; unreadable
    times or labels; interactions with an unknown item; no positive event."""
    if found := _key_problems(**keys):
        return found
    found = _path_problems(**keys)
    try:
        if found:  # what can be said of the others
            files = {kind: Path(keys[kind] or "") for kind in ("items", "interactions", "users")}
            there = {kind: path for kind, path in files.items() if keys[kind] and path.exists()}
            open_tables(there, Keys.of(keys), Notes())
        else:
            _LAST[:] = [_read(**keys)]
    except DataError as error:
        found += re.split(r"\n(?! )", str(error))  # lines that go on are indented
    return found


def _key_problems(
    *, columns: Names, actions: Any, encoding: str | None, separator: str | None, **_: object
) -> list[str]:
    """What is wrong with the keys that say how to read."""
    found = column_key_problems(columns) + dialect_key_problems(encoding, separator)
    try:
        parse_actions(actions)
    except DataError as error:
        found.append(str(error))
    return found


def _path_problems(
    *,
    items: str | None,
    interactions: str | None,
    users: str | None,
    half_lives_days: list[float],
    item_ttl_days: float | None,
    groups: list[str],
    **_: object,
) -> list[str]:
    """What is wrong with the other keys, without opening a file."""
    found = time_scale_problems(half_lives_days, item_ttl_days)
    if groups and not users:
        found.append(
            f"dataset.groups: got {', '.join(groups)}, columns of a file; set dataset.users"
        )
    ways = f". {WAYS}"  # said once
    for key, path in (("items", items), ("interactions", interactions), ("users", users or ".")):
        if not path or not Path(path).exists():
            seen = "" if Path(path or "").is_absolute() else f" (seen from {Path.cwd()})"
            wrong = f"{path}: no such file{seen}" if path else "is not set"
            found.append(f"dataset.{key}{': ' if path else ' '}{wrong}{ways}")
            ways = ""
    return found


def _read(
    *, items: str, interactions: str, users: str | None, name: str, repeats: bool, **keys: Any
) -> Dataset:
    files = OwnFiles(Path(items), Path(interactions), Path(users) if users else None)
    hashes = hash_files(files.parts)

    def read() -> Dataset:
        tables = read_own(files, Keys.of(keys))
        return Dataset(
            name=name,
            domain="own",
            items=tables.items,
            users=tables.users,
            log=tables.log,
            repeats=repeats,
            release=tables.release,
            half_lives_days=three(keys["half_lives_days"]),
            item_ttl_days=keys["item_ttl_days"],
            counts=tables.notes.counts,
            hashes=hashes,
            found=tables.notes.found,
            warnings=tuple(tables.notes.warnings),
        )

    which = [items, interactions, users]  # the hashes do not tell what each file is for
    return remembered(["own", name, keys, repeats, which, hashes], read)
