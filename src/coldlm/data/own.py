"""Your own data: a table of items and one of interactions, csv or parquet, and optionally one of
users.

| file | columns |
|---|---|
| items | ``item_id``; any text columns; ``title`` if there is one; ``released_at`` if it is known |
| interactions | ``user_id``, ``item_id``, ``timestamp``; ``label`` if there is one |
| users | ``user_id``; any text columns |

Ids are compared exactly: " 1" is not "1", "a" is not "A". Nothing is guessed in silence: what
cannot be read is refused with file, column and row, and every policy that touched a row or a text
is counted in ``Dataset.counts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import UNKNOWN, Bools, Dataset, Floats, Ints, Items, Log, Users, sorted_log
from coldlm.data.canonical.reader import with_defaults_of
from coldlm.data.canonical.template import clean, fields, fill, template_problems
from coldlm.data.files.fields import read_table
from coldlm.data.files.raw import (
    distinct,
    hash_files,
    header,
    missing_columns,
    name_rows,
    read_ids,
    refuse,
    release_counts,
    three,
    time_scale_problems,
)
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
        )
    )
    items_path, log_path = Path(items or ""), Path(interactions or "")
    counts: dict[str, int] = {}
    catalogue, release = _read_items(items_path, text, released_at, counts)
    table = read_table(log_path)
    user_ids = read_ids(table, "user_id", log_path)
    people = _read_users(Path(users) if users else None, log_path, user_ids, counts)
    _refuse_mixed_ids([(items_path, "item_id"), (log_path, "item_id")])
    _refuse_mixed_ids([*([(Path(users), "user_id")] if users else []), (log_path, "user_id")])
    label = label or ("label" if "label" in table.columns else None)
    _count_unread(table, ("user_id", "item_id", "timestamp", label), "interaction", counts)
    log = _read_log(
        table, (items_path, log_path), user_ids, people, catalogue, label, positive_from, counts
    )
    paths = [items_path, log_path, *([Path(users)] if users else [])]
    return Dataset(
        name=name,
        domain="own",
        items=catalogue,
        users=people,
        log=log,
        repeats=repeats,
        release=release,
        half_lives_days=three(half_lives_days),
        item_ttl_days=item_ttl_days,
        counts={**counts, **release_counts(catalogue, log)},
        hashes=hash_files(paths),
    )


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
    **_: object,
) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting; reads the headers of the files,
    not their rows."""
    found = time_scale_problems(half_lives_days, item_ttl_days)
    needed = {
        "items": [items, "item_id"],
        "interactions": [interactions, "user_id", "item_id", "timestamp"],
    }
    if released_at:
        needed["items"].append(released_at)
    if label or positive_from is not None:
        needed["interactions"].append(label or "label")
    if users:
        needed["users"] = [users, "user_id"]
    ways = f". {WAYS}"  # said once
    for key, (path, *columns) in needed.items():
        try:
            names = header(Path(path)) if path else []
        except DataError as error:
            found.append(f"dataset.{key}: {error}{ways}")
            ways = ""
            continue
        if not path:
            found.append(f"dataset.{key} is not set{ways}")
            ways = ""
            continue
        found += missing_columns(Path(path), names, [column for column in columns if column])
        if key == "interactions" and not label and "label" not in names:
            found += [
                f"{path}: column {name!r} looks like a label, but is not read: set "
                f"dataset.label={name}, or remove it"
                for name in names
                if name.strip().casefold() in LIKE_A_LABEL
            ]
        if key == "items" and text is not None:
            found += template_problems(text, names)
    return found


def _read_items(
    path: Path, text: str | None, released_at: str | None, counts: dict[str, int]
) -> tuple[Items, str]:
    table = read_table(path)
    ids = distinct(read_ids(table, "item_id", path), "item_id", path)
    column = released_at or ("released_at" if "released_at" in table.columns else None)
    released = np.full(len(table), UNKNOWN, np.int64)
    if column:
        released, _ = seconds(table[column], f"{path}, column {column!r}", optional=True)
    names = _text_columns(table, ("item_id", column))
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


def _refuse_mixed_ids(places: Sequence[tuple[Path, str]]) -> None:
    """A parquet file says whether an id is the number 1 or the text "1", and these are two ids; a
    csv does not."""
    kinds = {
        ("whole numbers" if pl.read_parquet_schema(path)[name].is_integer() else "strings"): path
        for path, name in places
        if path.suffix.lower() == ".parquet"
    }
    if len(kinds) > 1:
        said = " and ".join(f"{kind} in {path}" for kind, path in kinds.items())
        raise DataError(
            f"column {places[0][1]!r}: {said}; 1 and '1' are two ids: write both files alike"
        )


def _read_users(
    path: Path | None, log_path: Path, seen: list[str], counts: dict[str, int]
) -> Users:
    """The users of the file in its order, then those who are only in the interactions, by id."""
    ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    if path is not None:
        table = read_table(path)
        ids = distinct(read_ids(table, "user_id", path), "user_id", path)
        names = _text_columns(table, ("user_id",))
        texts = (
            _texts(table, path, " | ".join(f"{{{name}}}" for name in names))
            if names
            else ("",) * len(ids)
        )
        counts["users_not_in_the_users_file"] = len(set(seen) - set(ids))
        if not set(seen) & set(ids):
            raise DataError(
                f"{path}, column 'user_id': none of its {len(ids):,} users, such as {ids[0]!r} in "
                "data row 1, is in "
                f"{log_path}, where data row 1 is of {seen[0]!r}; are columns exchanged?"
            )
    more = tuple(sorted(set(seen) - set(ids)))
    return Users(ids + more, texts + ("",) * len(more))


def _read_log(
    table: pl.DataFrame,
    paths: tuple[Path, Path],
    user_ids: list[str],
    people: Users,
    catalogue: Items,
    label_column: str | None,
    positive_from: float | None,
    counts: dict[str, int],
) -> Log:
    items_path, path = paths
    code = {item: i for i, item in enumerate(catalogue.ids)}
    item_ids = read_ids(table, "item_id", path)
    item = np.array([code.get(name, -1) for name in item_ids], np.int64)
    if (item < 0).any():
        name = item_ids[int(np.argmax(item < 0))]
        near = [
            known for known in catalogue.ids if known.strip().casefold() == name.strip().casefold()
        ]
        hint = f"; {near[0]!r} is another id: case and blanks count" if near else ""
        raise DataError(
            f"{path}, column 'item_id': {name!r} in {name_rows(item < 0)} is not among the items "
            f"of {items_path}{hint}"
        )
    code = {user: i for i, user in enumerate(people.ids)}
    user = np.array([code[name] for name in user_ids], np.int64)
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
    keep = _first_of_equals(user, item, time, label)
    counts["exact_duplicate_interactions_dropped"] = int((~keep).sum())
    return sorted_log(
        user[keep], item[keep], time[keep], label[keep], positive[keep], np.flatnonzero(keep)
    )


def _first_of_equals(user: Ints, item: Ints, time: Ints, label: Floats) -> Bools:
    """[E] False for rows whose four values all occurred in an earlier row."""
    columns = pl.DataFrame({"user": user, "item": item, "time": time, "label": label})
    return columns.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()


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


def _text_columns(table: pl.DataFrame, others: Sequence[str | None]) -> list[str]:
    """Names of the text columns, ``title`` first. Strings that are all numbers are no text: a csv
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
