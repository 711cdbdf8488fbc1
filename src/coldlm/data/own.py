"""Your own data: a table of items and one of interactions, csv or parquet, and optionally one of
users.

| file | columns |
|---|---|
| items | ``item_id``; any text columns; ``title`` if there is one; ``released_at`` if it is known |
| interactions | ``user_id``, ``item_id``, ``timestamp``; ``label`` and ``query`` if there are such |
| users | ``user_id``; any text columns |

Ids are compared exactly: " 1" is not "1", "a" is not "A". Nothing is guessed in silence: what
cannot be read is refused with file, column and row, and every policy that touched a row or a text
is counted in ``Dataset.counts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.canonical.groups import missing_groups
from coldlm.data.canonical.reader import with_defaults_of
from coldlm.data.canonical.remembered import remembered
from coldlm.data.canonical.template import template_problems
from coldlm.data.files.own import OwnFiles, read_own, unread_labels
from coldlm.data.files.raw import (
    hash_files,
    header,
    missing_columns,
    refuse,
    three,
    time_scale_problems,
)

WAYS = (
    "dataset=own reads files of yours: dataset.items=items.csv (item_id and text columns) "
    "dataset.interactions=interactions.csv (user_id, item_id, timestamp, optionally label); csv or "
    "parquet. "
    "Without any, dataset=simulated makes a world, and dataset=video/movielens_latest_small reads "
    "a public data set"
)


def load(
    *,
    items: str | None = None,
    interactions: str | None = None,
    users: str | None = None,
    name: str = "own",
    text: str | None = None,
    label: str | None = None,
    positive_from: float | None = None,
    repeats: bool = False,
    released_at: str | None = None,
    half_lives_days: list[float] = [1.0, 7.0, 30.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    groups: list[str] = [],  # noqa: B006  never changed
) -> Dataset:
    """Return the canonical tables from two or three files.

    Args:
        items, interactions, users: paths, see above. Without ``users``, and for users it lacks,
            profile texts are "".
        name: of the data set, in every result row.
        text: template over the columns of ``items``. By default all text columns but ``item_id``
            and the release, ``title`` first, joined by " | "; a csv column counts as text unless
            all its values are numbers.
        label: the column of ``interactions`` with the label; ``label`` by default, if there is one.
        positive_from: a label of at least this is a positive. By default a label above 0 is, and
            without labels every event.
        repeats: whether a user may take an item again.
        released_at: the column of ``items`` with the release time; ``released_at`` by default, if
            there is one. Empty means unknown. Without such a column items enter the candidates
            after their first event.
        half_lives_days: of the decayed counts, three, ascending.
        item_ttl_days: how long an item stays a candidate.
        groups: columns of ``users`` by whose values users are told apart in tables.

    ``query``: what the user typed into a search box before the event, empty for nothing. With it,
    ``user_id`` may be empty: a user of their own, see ``typed.with_anonymous``.

    Times: see ``times.seconds``. Event ids are row numbers of ``interactions``, from 0. Rows that
    repeat user, item, time and label of an earlier row are dropped and counted. Line breaks, NUL
    and runs of blanks in texts become one blank.

    Raises:
        DataError: see ``problems``; missing, wrong or repeated ids; unreadable times or labels;
            interactions with an unknown item; no positive event.
    """
    refuse(
        problems(
            items=items,
            interactions=interactions,
            users=users,
            text=text,
            label=label,
            positive_from=positive_from,
            released_at=released_at,
            half_lives_days=half_lives_days,
            item_ttl_days=item_ttl_days,
            groups=groups,
        )
    )
    files = OwnFiles(Path(items or ""), Path(interactions or ""), Path(users) if users else None)
    columns: dict[str, Any] = {
        "text": text, "label": label, "positive_from": positive_from, "released_at": released_at,
        "groups": groups,
    }  # fmt: skip
    hashes = hash_files(files.paths)

    def read() -> Dataset:
        tables = read_own(files, **columns)
        return Dataset(
            name=name,
            domain="own",
            items=tables.items,
            users=tables.users,
            log=tables.log,
            repeats=repeats,
            release=tables.release,
            half_lives_days=three(half_lives_days),
            item_ttl_days=item_ttl_days,
            counts=tables.counts,
            hashes=hashes,
        )

    said = ["own", name, columns, repeats, half_lives_days, item_ttl_days]
    which = [items, interactions, users]  # the hashes do not tell what each file is for
    return remembered([*said, which, hashes], read)


@with_defaults_of(load)
def problems(
    *,
    items: str | None,
    interactions: str | None,
    users: str | None,
    text: str | None,
    label: str | None,
    positive_from: float | None,
    released_at: str | None,
    half_lives_days: Sequence[float],
    item_ttl_days: float | None,
    groups: Sequence[str],
    **_: object,
) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting; reads the headers of the files,
    not their rows."""
    found = time_scale_problems(half_lives_days, item_ttl_days)
    needed: dict[str, list[str | None]] = {
        "items": [items, "item_id", released_at],
        "interactions": [interactions, "user_id", "item_id", "timestamp"],
    }
    if users:
        needed["users"] = [users, "user_id"]
    elif groups:
        found.append(
            f"dataset.groups: got {', '.join(groups)}, columns of a file; set dataset.users"
        )
    if label or positive_from is not None:
        needed["interactions"].append(label or "label")
    ways = f". {WAYS}"  # said once
    for key, (path, *columns) in needed.items():
        wrong = "" if path else f"dataset.{key} is not set"
        try:
            names = header(Path(path)) if path else []
        except DataError as error:
            wrong = f"dataset.{key}: {error}"
        if wrong or not path:
            found.append(f"{wrong}{ways}")
            ways = ""
            continue
        found += missing_columns(Path(path), names, [column for column in columns if column])
        if key == "interactions" and not label and "label" not in names:
            found += unread_labels(path, names)
        if key == "users":
            found += missing_groups(names, groups, Path(path))
        if key == "items" and text is not None:
            found += template_problems(text, names)
    return found
