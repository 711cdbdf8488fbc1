"""The two or three files of ``dataset=own``, read strictly: what cannot be read is refused with file,
column and row, and every policy that touched a row or a text is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import UNKNOWN, Bools, Floats, Ints, Items, Log, Users, sorted_log
from coldlm.data.canonical.groups import user_groups
from coldlm.data.canonical.template import clean, fields, fill
from coldlm.data.canonical.typed import COLUMN, coded, with_anonymous
from coldlm.data.files.fields import read_table
from coldlm.data.files.raw import distinct, name_rows, read_ids, release_counts
from coldlm.data.files.times import seconds

LIKE_A_LABEL = (
    "label",
    "labels",
    "rating",
    "ratings",
    "score",
    "stars",
    "click",
    "clicked",
    "is_click",
    "like",
    "liked",
)
"""Names of columns that would say what a positive is, had they been read."""

LONG_TEXT = 10_000
"""Characters; longer texts are kept whole and counted."""


@dataclass(frozen=True)
class OwnFiles:
    """Where they lie; ``users``: None if there are none."""

    items: Path
    interactions: Path
    users: Path | None = None

    @property
    def paths(self) -> list[Path]:
        return [self.items, self.interactions, *([self.users] if self.users else [])]


@dataclass(frozen=True)
class OwnTables:
    """What they hold. ``release``: see ``to_dataset``. ``counts``: policies that touched rows or
    texts."""

    items: Items
    users: Users
    log: Log
    release: str
    counts: dict[str, int]


def read_own(
    files: OwnFiles,
    *,
    text: str | None,
    label: str | None,
    positive_from: float | None,
    released_at: str | None,
    groups: Sequence[str] = (),
) -> OwnTables:
    """Return what the files hold; keys and refusals are those of ``own.load``."""
    counts: dict[str, int] = {}
    catalogue, release = _read_items(files.items, text, released_at, counts)
    table = with_anonymous(read_table(files.interactions), counts)
    user_ids = read_ids(table, "user_id", files.interactions)
    people = _read_users(files.users, files.interactions, user_ids, groups, counts)
    _refuse_mixed_ids("item_id", [files.items, files.interactions])
    _refuse_mixed_ids("user_id", [*([files.users] if files.users else []), files.interactions])
    label = label or ("label" if "label" in table.columns else None)
    _count_unread(table, ("user_id", "item_id", "timestamp", COLUMN, label), "interaction", counts)
    item = _item_codes(table, catalogue, files)
    queries, query = coded(table[COLUMN].cast(pl.String)) if COLUMN in table.columns else ((), None)
    people = replace(people, queries=queries)
    log = _read_log(
        table,
        files.interactions,
        _codes(user_ids, people.ids),
        item,
        query,
        label,
        positive_from,
        counts,
    )
    return OwnTables(catalogue, people, log, release, {**counts, **release_counts(catalogue, log)})


def _read_items(
    path: Path, text: str | None, released_at: str | None, counts: dict[str, int]
) -> tuple[Items, str]:
    table = read_table(path)
    ids = distinct(read_ids(table, "item_id", path), "item_id", path)
    column = released_at or ("released_at" if "released_at" in table.columns else None)
    released = np.full(len(table), UNKNOWN, np.int64)
    if column:
        released, _ = seconds(table[column], f"{path}, column {column!r}", optional=True)
    names = text_columns(table, ("item_id", column))
    if text is None and not names:
        raise DataError(
            f"{path}: no text column beside item_id; columns found: {', '.join(table.columns)}"
        )
    texts = _texts(table, path, text or " | ".join(f"{{{name}}}" for name in names))
    titles = _texts(table, path, f"{{{names[0]}}}") if names else ids
    _count_unread(table, ("item_id", column, *(fields(text) if text else names)), "item", counts)
    counts["items_without_text"] = texts.count("")
    counts[f"texts_over_{LONG_TEXT}_chars"] = sum(len(text) > LONG_TEXT for text in texts)
    return Items(ids, titles, texts, released), "field" if column else "after_first"


def _read_users(
    path: Path | None,
    log_path: Path,
    seen: list[str],
    groups: Sequence[str],
    counts: dict[str, int],
) -> Users:
    """The users of the file in its order, then those who are only in the interactions, by id."""
    ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    told: dict[str, tuple[str, ...]] = {}
    if path is not None:
        table = read_table(path)
        ids = distinct(read_ids(table, "user_id", path), "user_id", path)
        names = text_columns(table, ("user_id",))
        texts = (
            _texts(table, path, " | ".join(f"{{{name}}}" for name in names))
            if names
            else ("",) * len(ids)
        )
        told = user_groups(table, groups, path)
        counts["users_not_in_the_users_file"] = len(set(seen) - set(ids))
        if not set(seen) & set(ids):
            raise DataError(
                f"{path}, column 'user_id': none of its {len(ids):,} users, such as {ids[0]!r} in "
                "data row 1, is in "
                f"{log_path}, where data row 1 is of {seen[0]!r}; are columns exchanged?"
            )
    more = tuple(sorted(set(seen) - set(ids)))
    nothing = ("",) * len(more)
    known = {name: values + nothing for name, values in told.items()}
    return Users(ids + more, texts + nothing, known)


def _refuse_mixed_ids(name: str, paths: Sequence[Path]) -> None:
    """A parquet file says whether an id is the number 1 or the text "1", and these are two ids; a
    csv does not."""
    kinds = {
        ("whole numbers" if pl.read_parquet_schema(path)[name].is_integer() else "strings"): path
        for path in paths
        if path.suffix.lower() == ".parquet"
    }
    if len(kinds) > 1:
        said = " and ".join(f"{kind} in {path}" for kind, path in kinds.items())
        raise DataError(f"column {name!r}: {said}; 1 and '1' are two ids: write both files alike")


def _item_codes(table: pl.DataFrame, catalogue: Items, files: OwnFiles) -> Ints:
    """[E] items of the interactions, by their place in the catalogue."""
    path = files.interactions
    item_ids = read_ids(table, "item_id", path)
    item = _codes(item_ids, catalogue.ids)
    if (item < 0).any():
        name = item_ids[int(np.argmax(item < 0))]
        near = [
            known for known in catalogue.ids if known.strip().casefold() == name.strip().casefold()
        ]
        hint = f"; {near[0]!r} is another id: case and blanks count" if near else ""
        raise DataError(
            f"{path}, column 'item_id': {name!r} in {name_rows(item < 0)} is not among the items "
            f"of {files.items}{hint}"
        )
    return item


def _codes(ids: Sequence[str], known: Sequence[str]) -> Ints:
    """The place of each id among the ``known`` ones, -1 for others."""
    names = pl.Series(known, dtype=pl.String)
    places = pl.int_range(len(names), eager=True)
    found: Ints = (
        pl.Series(ids, dtype=pl.String)
        .replace_strict(names, places, default=-1, return_dtype=pl.Int64)
        .to_numpy()
    )
    return found


def _read_log(
    table: pl.DataFrame,
    path: Path,
    user: Ints,
    item: Ints,
    query: Ints | None,
    label_column: str | None,
    positive_from: float | None,
    counts: dict[str, int],
) -> Log:
    time, counts["timestamps_cut_to_seconds"] = seconds(
        table["timestamp"], f"{path}, column 'timestamp'"
    )
    label = _labels(table[label_column], path) if label_column else np.ones(len(table))
    positive = label >= positive_from if positive_from is not None else label > 0
    if not positive.any():
        raise DataError(
            f"{path}: no positive event; labels reach {label.max():g}, positive_from is "
            f"{positive_from}"
        )
    typed = {} if query is None else {COLUMN: query}
    keep = first_of_equals(
        pl.DataFrame({"user": user, "item": item, "time": time, "label": label, **typed})
    )
    counts["exact_duplicate_interactions_dropped"] = int((~keep).sum())
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


def _labels(column: pl.Series, path: Path) -> Floats:
    where = f"{path}, column {column.name!r}"
    if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Boolean)):
        raise DataError(f"{where}: values of type {column.dtype}; expected numbers")
    if column.dtype == pl.String:
        column = column.replace({"true": "1", "True": "1", "false": "0", "False": "0"})
    label = column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    bad = ~np.isfinite(label)
    if bad.any():
        value = column.to_list()[int(np.argmax(bad))]
        reason = "missing" if value is None else f"{value!r}, which is not a number,"
        raise DataError(f"{where}: {reason} in {name_rows(bad)}")
    return label


def _count_unread(
    table: pl.DataFrame, read: Sequence[str | None], kind: str, counts: dict[str, int]
) -> None:
    if unread := [name for name in table.columns if name not in read]:
        counts[f"{kind} columns not read: {', '.join(unread)}"] = len(unread)


def text_columns(table: pl.DataFrame, others: Sequence[str | None]) -> list[str]:
    """Return the names of the text columns, ``title`` first. Strings that are all numbers are no text: a csv
    has no types, and columns such as an average rating, made after the fact, would leak the future
    into the text."""
    names = []
    for name in table.columns:
        column = table[name]
        if name in others or column.dtype not in (pl.String, pl.Categorical, pl.Enum):
            continue
        words = column.cast(pl.String).replace("", None).drop_nulls()
        if name == "title" or not len(words) or words.cast(pl.Float64, strict=False).null_count():
            names.append(name)
    return sorted(names, key=lambda name: name != "title")


def _texts(table: pl.DataFrame, path: Path, template: str) -> tuple[str, ...]:
    columns = {}
    for name in table.columns:
        if f"{{{name}}}" in template:
            if table[name].dtype.is_nested():
                raise DataError(
                    f"{path}, column {name!r}: lists or structs cannot be text; join them into a "
                    "string"
                )
            columns[name] = [clean(value) for value in table[name].cast(pl.String)]
    return fill(template, columns)


def unread_labels(path: str, names: Sequence[str]) -> list[str]:
    """Return a problem per column that looks like a label, in a file that has none by that name."""
    return [
        f"{path}: column {name!r} looks like a label, but is not read: set dataset.label={name}, "
        "or remove it"
        for name in names
        if name.strip().casefold() in LIKE_A_LABEL
    ]
