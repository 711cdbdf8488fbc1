"""The two or three files of ``dataset=own``, read strictly: what cannot be read is refused with file,
column and row, every policy that touched a row or a text is counted, and what was found out is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import UNKNOWN, Bools, Floats, Ints, Items, Log, Users, sorted_log
from coldlm.data.canonical.groups import missing_groups, user_groups
from coldlm.data.canonical.template import fields, template_problems
from coldlm.data.canonical.typed import COLUMN, coded, with_anonymous
from coldlm.data.files.columns import TABLES, Names, knows, named, unused_names
from coldlm.data.files.figures import NOTHING
from coldlm.data.files.formats import MICRO, UNITS
from coldlm.data.files.ids import alike, codes, distinct, item_codes, read_ids
from coldlm.data.files.labels import (
    Actions,
    action_problems,
    parse_actions,
    read_labels,
    unread_actions,
    unread_labels,
)
from coldlm.data.files.moments import Moments, read_moments, suspicions
from coldlm.data.files.raw import missing_columns, refuse, release_counts
from coldlm.data.files.table import Table, parts_of, read
from coldlm.data.files.texts import crowd_fields, set_aside, text_columns, texts

LONG_TEXT = 10_000
"""Characters; longer texts are kept whole and counted."""


@dataclass(frozen=True)
class OwnFiles:
    """Where they lie, each a file or a folder of parts; ``users``: None if there are none."""

    items: Path
    interactions: Path
    users: Path | None = None

    @property
    def by_kind(self) -> dict[str, Path]:
        return {kind: path for kind, path in vars(self).items() if path is not None}

    @property
    def parts(self) -> list[Path]:
        return list(
            dict.fromkeys(part for path in self.by_kind.values() for part in parts_of(path))
        )


@dataclass(frozen=True)
class Keys:
    """What the user says of the files; see ``own.load``."""

    text: str | None = None
    label: str | None = None
    actions: Actions | None = None
    positive_from: float | None = None
    released_at: str | None = None
    groups: Sequence[str] = ()
    columns: Names = field(default_factory=dict)
    time_format: str | None = None
    released_format: str | None = None
    day_first: bool | None = None
    encoding: str | None = None
    separator: str | None = None
    sheet: str | Mapping[str, str] | None = None
    unlisted_items: str = "refuse"

    @classmethod
    def of(cls, keys: Mapping[str, Any]) -> Keys:
        """Return those of all keys that say how the files are to be read.

        Raises:
            DataError: see ``labels.parse_actions``.
        """
        own = {name: keys[name] for name in cls.__dataclass_fields__}
        return cls(**{**own, "actions": parse_actions(own["actions"])})


@dataclass
class Notes:
    """What is gathered on the way. ``counts``: policies that touched rows or texts. ``found``: what was
    found out about the files. ``warnings``: what may be wrong with them."""

    counts: dict[str, int] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OwnTables:
    """What they hold. ``release``: see ``to_dataset``."""

    items: Items
    users: Users
    log: Log
    release: str
    notes: Notes


def read_own(files: OwnFiles, keys: Keys) -> OwnTables:
    """Return what the files hold; keys and refusals are those of ``own.load``."""
    notes = Notes()
    tables = open_tables(files.by_kind, keys, notes)
    items, people = tables["items"], tables.get("users")
    events = tables["interactions"].holding(
        with_anonymous(tables["interactions"].frame, notes.counts)
    )
    item_ids, event_item_ids = alike("item_id", [items, events], notes.found)
    of_users = [*([people] if people else []), events]
    *listed, user_ids = alike("user_id", of_users, notes.found)
    catalogue, release = _read_items(items, item_ids, keys, notes)
    users = _read_users(people, listed, events, user_ids, keys, notes)
    if keys.unlisted_items == "keep":
        catalogue = _with_unlisted(catalogue, event_item_ids, notes)
    item = item_codes(event_item_ids, catalogue.ids, items, events)
    is_typed = COLUMN in events.names
    queries, query = coded(events[COLUMN].cast(pl.String)) if is_typed else ((), None)
    users = replace(users, queries=queries)
    log = _read_log(events, codes(user_ids, users.ids), item, query, keys, notes)
    early = int((catalogue.released_at < log.time[0]).sum())
    notes.counts |= release_counts(catalogue, log) | {
        "items_released_before_the_first_event": early
    }
    return OwnTables(catalogue, users, log, release, notes)


def open_table(path: Path, keys: Keys, kind: str = "") -> Table:
    """Return a table with its own names; ``kind``: what it is, if that is known.

    Raises:
        DataError: see ``table.read``.
    """
    sheet = keys.sheet if isinstance(keys.sheet, str) else (keys.sheet or {}).get(kind)
    return read(
        path,
        lambda names: knows(names, keys.columns),
        encoding=keys.encoding,
        separator=keys.separator,
        sheet=sheet,
    )


def open_tables(files: Mapping[str, Path], keys: Keys, notes: Notes) -> dict[str, Table]:
    """Return the tables under our names; ``files``: kind (see ``columns.TABLES``) -> path.

    Raises:
        DataError: all that is wrong with files and columns, at once.
    """
    tables, own, problems = dict[str, Table](), list[Table](), list[str]()
    for kind, path in files.items():
        try:
            table = open_table(path, keys, kind)
        except DataError as error:
            problems.append(str(error))
            continue
        own.append(table)
        tables[kind], wrong = named(table, kind, keys.columns)
        problems += wrong or _key_problems(kind, tables[kind], keys)
        notes.found[path.name if path.name not in notes.found else kind] = "; ".join(
            [table.found, *(f"{its} is {our}" for our, its in tables[kind].said.items())]
        )
        if table.empty_rows:
            notes.counts[f"rows of {path.name} without any value, left out"] = table.empty_rows
    refuse(problems + (unused_names(own, keys.columns) if len(own) == len(files) else []))
    return tables


def _key_problems(kind: str, table: Table, keys: Keys) -> list[str]:
    """What is wrong with keys that name columns of a table, by our names."""
    if kind == "users":
        return missing_groups(table.names, keys.groups, table.path)
    if kind == "items":
        wanted = [keys.released_at] if keys.released_at else []
        found = missing_columns(table.path, table.names, wanted)
        return found + (template_problems(keys.text, table.names) if keys.text is not None else [])
    asked = keys.label or ("label" if keys.positive_from is not None else None)
    if problems := action_problems(keys.actions, keys.label, table):
        return problems
    found = missing_columns(table.path, table.names, [asked] if asked else [])
    if not keys.label and "label" not in table.names:
        found += unread_labels(str(table.path), table.names) or unread_actions(table)
    return found


def _read_items(table: Table, ids: pl.Series, keys: Keys, notes: Notes) -> tuple[Items, str]:
    known = distinct(ids, "item_id", table)
    column = keys.released_at or ("released_at" if "released_at" in table.names else None)
    released = np.full(len(table), UNKNOWN, np.int64)
    if column:
        moments = _moments(
            table, column, "dataset.released_format", keys.released_format, keys, notes
        )
        released = (moments.micros // MICRO).fill_null(UNKNOWN).to_numpy()
    names = text_columns(table.frame, ("item_id", column))
    if keys.text is None and not names:
        raise DataError(
            f"{table.path}: no text column beside item_id; columns found: {', '.join(table.names)}; "
            "'dataset.text=\"{price}\"' is a template of your own"
        )
    template = keys.text or " | ".join(f"{{{name}}}" for name in names)
    read_texts = texts(table, template)
    titles = texts(table, f"{{{names[0]}}}") if names else known
    used = fields(template)
    aside = set_aside(table, ("item_id", column, *used))
    notes.found["text"] = template + (
        f" (set aside: {', '.join(f'{name}, {why}' for name, why in aside.items())})"
        if aside
        else ""
    )
    notes.warnings += crowd_fields(template, table)
    _count_unread(table, ("item_id", column, *used), "item", notes.counts)
    notes.counts["items_without_text"] = read_texts.count("")
    notes.counts[f"texts_over_{LONG_TEXT}_chars"] = sum(
        len(text) > LONG_TEXT for text in read_texts
    )
    return Items(known, titles, read_texts, released), "field" if column else "after_first"


def _with_unlisted(catalogue: Items, ids: pl.Series, notes: Notes) -> Items:
    """The catalogue, and behind it the items that only the interactions have, by id, without text."""
    more = tuple(sorted(set(ids) - set(catalogue.ids)))
    notes.counts["items_not_in_the_items_file"] = len(more)
    unknown = np.full(len(more), UNKNOWN, np.int64)
    return Items(
        catalogue.ids + more,
        catalogue.titles + more,
        catalogue.texts + ("",) * len(more),
        np.concatenate([catalogue.released_at, unknown]),
    )


def _read_users(
    table: Table | None,
    listed: Sequence[pl.Series],
    events: Table,
    seen: pl.Series,
    keys: Keys,
    notes: Notes,
) -> Users:
    """The users of the file in its order, then those who are only in the interactions, by id."""
    ids: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    told: dict[str, tuple[str, ...]] = {}
    if table is not None:
        ids = distinct(listed[0], "user_id", table)
        names = text_columns(table.frame, ("user_id",))
        template = " | ".join(f"{{{name}}}" for name in names)
        profiles = texts(table, template) if names else ("",) * len(ids)
        told = user_groups(table.frame, keys.groups, table.path)
        notes.counts["users_not_in_the_users_file"] = len(set(seen) - set(ids))
        if not set(seen) & set(ids):
            raise DataError(
                f"{table.where('user_id')}: none of its {len(ids):,} users, such as {ids[0]!r} in "
                "data row 1, is in "
                f"{events.path}, where data row 1 is of {seen[0]!r}; are columns exchanged?"
            )
    more = tuple(sorted(set(seen) - set(ids)))
    nothing = ("",) * len(more)
    known = {name: values + nothing for name, values in told.items()}
    return Users(ids + more, profiles + nothing, known)


def _moments(
    table: Table, name: str, key: str, format: str | None, keys: Keys, notes: Notes
) -> Moments:
    values = table[name]
    if key == "dataset.released_format" and values.dtype == pl.String:  # one may not be known
        values = values.set(values.str.to_lowercase().is_in(NOTHING).fill_null(False), None)
    moments = read_moments(
        values, table.where(name), table.rows, key=key, format=format, day_first=keys.day_first
    )
    said = "" if moments.format in UNITS else ", UTC where no zone is named"
    notes.found[f"{table.said.get(name, name)} of {table.path.name}"] = moments.format + said
    notes.warnings += suspicions(moments, values, table.where(name), key)
    return moments


def read_items(path: Path, keys: Keys) -> Items:
    """Return the items of a file; keys and refusals are those of ``own.load``."""
    notes = Notes()
    table = open_tables({"items": path}, keys, notes)["items"]
    return _read_items(table, read_ids(table, "item_id"), keys, notes)[0]


def read_events(table: Table, keys: Keys, notes: Notes) -> tuple[Ints, Floats, Bools]:
    """Return time in microseconds, label, and what is positive, [rows] each, of a table of
    interactions.

    Raises:
        DataError: what cannot be read, or nothing positive.
    """
    where, key = table.where("timestamp"), "dataset.time_format"
    moments = _moments(table, "timestamp", key, keys.time_format, keys, notes)
    for what, wrong in (
        ("missing", moments.micros.is_null()),
        ("before 1970", (moments.micros < 0).fill_null(False)),
    ):
        if wrong.any():
            raise DataError(
                f"{where}: {what} in {table.rows(wrong.to_numpy())}; every event needs a time"
            )
    name = keys.label or ("label" if "label" in table.names else None)
    label = read_labels(table, name, keys.actions, notes.warnings) if name else np.ones(len(table))
    used = [column.name for column in TABLES["interactions"]]
    _count_unread(table, (*used, name), "interaction", notes.counts)
    threshold = keys.positive_from
    positive = label >= threshold if threshold is not None else label > 0
    if not positive.any():
        raise DataError(
            f"{table.path}: no positive event; labels reach {label.max():g}, positive_from is "
            f"{threshold}"
        )
    return moments.micros.to_numpy(), label, positive


def _read_log(
    table: Table, user: Ints, item: Ints, query: Ints | None, keys: Keys, notes: Notes
) -> Log:
    micros, label, positive = read_events(table, keys, notes)
    notes.counts["timestamps_cut_to_seconds"] = n_cut = int((micros % MICRO > 0).sum())
    # events of one second have the order of their numbers: with fractions, that of time
    order = np.argsort(micros, kind="stable") if n_cut else np.arange(len(micros))
    user, item, label, time = user[order], item[order], label[order], micros[order] // MICRO
    positive, query = positive[order], None if query is None else query[order]
    typed = {} if query is None else {COLUMN: query}
    keep = first_of_equals(
        pl.DataFrame({"user": user, "item": item, "time": time, "label": label, **typed})
    )
    notes.counts["exact_duplicate_interactions_dropped"] = int((~keep).sum())
    return sorted_log(
        user[keep],
        item[keep],
        time[keep],
        label[keep],
        positive[keep],
        np.flatnonzero(keep),
        None if query is None else query[keep],
    )


def first_of_equals(table: pl.DataFrame) -> Bools:
    """Return [rows] False for rows whose values all occurred in an earlier row."""
    return table.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()


def _count_unread(
    table: Table, used: Sequence[str | None], kind: str, counts: dict[str, int]
) -> None:
    if unread := [table.said.get(name, name) for name in table.names if name not in used]:
        counts[f"{kind} columns not read: {', '.join(unread)}"] = len(unread)
