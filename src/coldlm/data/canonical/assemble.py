"""The canonical tables of a data set, with which a reader's work ends.

```
raw files --reader--> Tables (kept as parquet, see prepared.py) --template, threshold--> Dataset
```
The last step is ``to_dataset``, see dataset.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import ALWAYS
from coldlm.data.canonical.template import clean
from coldlm.data.canonical.typed import COLUMN, with_anonymous

_LISTS = {"timestamp": pl.Int64, "size": pl.Int64}
_SHOWN = {"clicked": pl.Boolean}

BLOCK = 1_000_000
"""Rows that are joined at once."""


@dataclass(frozen=True)
class Tables:
    """Parsed raw files.

    ``items``: row = code; ``item_id`` (string, distinct), text fields (strings, "" where missing),
    and ``released_at`` (int64 Unix seconds, null where unknown) if the source has it. ``users``:
    row = code; ``user_id``, text fields.
    ``interactions``: ``user``, ``item`` (codes), ``timestamp`` (int64 Unix seconds), ``label``
    (float64), ``event_id`` (int64) and, if the source has such a column, ``query`` (what was typed
    before the event, null or "" for nothing), sorted by (timestamp, event_id). ``dated``: values that a text
    field took at a time: ``item`` (code), ``timestamp``, ``field``, ``value``; no rows where fields
    do not change. ``impressions``: candidate lists that were shown, in time order: ``user`` (code),
    ``timestamp``, ``size`` (places); no rows where the source has none.
    ``shown``: their places, list by list: ``item`` (code, uint32), ``clicked`` (bool). ``counts``:
    policies that touched rows. ``log_starts_at``: Unix seconds; earlier events have no time in the
    source, and one that is made up.
    """

    items: pl.DataFrame
    users: pl.DataFrame
    interactions: pl.DataFrame
    dated: pl.DataFrame
    impressions: pl.DataFrame
    shown: pl.DataFrame
    counts: dict[str, int] = field(default_factory=dict)
    log_starts_at: int = ALWAYS


def assemble(
    interactions: pl.DataFrame,
    items: pl.DataFrame,
    *,
    users: pl.DataFrame | None = None,
    dated: pl.DataFrame | None = None,
    impressions: pl.DataFrame | None = None,
    shown: pl.DataFrame | None = None,
    counts: Mapping[str, int] | None = None,
    log_starts_at: int = ALWAYS,
) -> Tables:
    """Tables from frames whose ids are still those of the source.

    Args:
        interactions: ``user_id``, ``item_id``, ``timestamp`` (whole Unix seconds), ``label`` and,
            if the rows are not in the order of the file, ``event_id``; ``query`` if there is such a
            column: ``user_id`` may then be empty, see ``typed.with_anonymous``.
        items: ``item_id``, distinct, and text fields; may lack items, which then have no text and
            are counted.
        users: ``user_id``, distinct, and text fields; may lack users.
        dated: ``item_id``, ``timestamp``, ``field``, ``value``; values of unknown items are left
            out and counted.
        impressions: ``user_id``, ``timestamp``, ``size``, one row per list, in time order.
        shown: ``item_id``, ``clicked``, one row per place, in the order of the lists.
        log_starts_at: see ``Tables``.

    Ids are strings, integers, which are written out, or categories, which take four bytes a row.
    Codes follow the order of ``items`` (and ``users``); items and users that only occur elsewhere
    follow in ascending order.

    Raises:
        DataError: an id that is missing or, in ``items`` or ``users``, occurs twice; a missing time
            or label.
    """
    counted = dict(counts or {})
    events = _numbered(with_anonymous(interactions, counted))
    lists = _or_none(impressions, {"user_id": pl.String, **_LISTS})
    places = _or_none(shown, {"item_id": pl.String, **_SHOWN})
    seen_items = _distinct(events["item_id"], places["item_id"])
    seen_users = _distinct(events["user_id"], lists["user_id"])
    catalogue = _with_unknown(items, seen_items, "item_id")
    counted["items_without_metadata"] = len(catalogue) - len(items)
    people = _with_unknown(_or_none(users, {"user_id": seen_users.dtype}), seen_users, "user_id")
    return Tables(
        items=_texts_filled(catalogue, "item_id"),
        users=_texts_filled(people, "user_id"),
        interactions=_coded_events(events, people["user_id"], catalogue["item_id"]),
        dated=_dated(dated, catalogue, counted),
        impressions=lists.select(
            _codes(lists["user_id"], people["user_id"]).alias("user").cast(pl.Int64),
            *map(pl.col, _LISTS),
        ).cast(_LISTS),  # type: ignore[arg-type]
        shown=places.select(
            _codes(places["item_id"], catalogue["item_id"]).alias("item"), "clicked"
        ),
        counts=counted,
        log_starts_at=log_starts_at,
    )


def _or_none(
    table: pl.DataFrame | None, kinds: Mapping[str, pl.DataType | type[pl.DataType]]
) -> pl.DataFrame:
    """``table``, or one of these columns without a row."""
    return pl.DataFrame(schema=kinds) if table is None else table


def _numbered(interactions: pl.DataFrame) -> pl.DataFrame:
    """The interactions with an ``event_id``, none of whose values is missing."""
    events = (
        interactions
        if "event_id" in interactions.columns
        else interactions.with_row_index("event_id")
    )
    for name in ("user_id", "item_id", "timestamp", "label"):
        if missing := events[name].null_count():
            raise DataError(f"interactions, column {name!r}: missing in {missing:,} rows")
    return events


def _coded_events(events: pl.DataFrame, users: pl.Series, items: pl.Series) -> pl.DataFrame:
    """The events by code, sorted by (timestamp, event id). Where the ids ascend already, as row
    numbers do, a stable sort by time alone gives the same order in half the time."""
    coded = events.select(
        _codes(events["user_id"], users).alias("user").cast(pl.Int64),
        _codes(events["item_id"], items).alias("item").cast(pl.Int64),
        pl.col("timestamp").cast(pl.Int64),
        pl.col("label").cast(pl.Float64),
        pl.col("event_id").cast(pl.Int64),
        *(pl.col(name).cast(pl.String) for name in events.columns if name == COLUMN),
    )
    if coded["event_id"].is_sorted():
        return coded.sort("timestamp", maintain_order=True)
    return coded.sort("timestamp", "event_id")


def _distinct(*columns: pl.Series) -> pl.Series:
    """The distinct ids of all columns that hold some, categories as strings."""
    parts = [column.unique() for column in columns if len(column)] or [columns[0]]
    return pl.concat(
        [p.cast(pl.String) if p.dtype == pl.Categorical else p for p in parts]
    ).unique()


def _with_unknown(table: pl.DataFrame, seen: pl.Series, key: str) -> pl.DataFrame:
    """``table`` and, behind it in ascending order, rows for the ids of ``seen`` that it lacks, null
    but for the id."""
    for ids in (table[key], seen):
        if not (ids.dtype == pl.String or ids.dtype.is_integer()):
            raise DataError(f"{key}: ids of type {ids.dtype}; expected strings or integers")
    if len(table) and table[key].dtype != seen.dtype:
        raise DataError(
            f"{key}: ids of type {table[key].dtype} in one table and {seen.dtype} in the other"
        )
    if missing := table[key].null_count():
        raise DataError(f"{key}: missing in {missing:,} rows")
    if (again := table[key].is_duplicated()).any():
        raise DataError(
            f"{key}: {table[key].filter(again)[0]!r} occurs more than once; ids must be distinct"
        )
    more = seen.unique().sort()
    more = more.filter(~more.is_in(table[key].implode()))
    return pl.concat([table, pl.DataFrame({key: more})], how="diagonal_relaxed")


def _codes(ids: pl.Series, known: pl.Series) -> pl.Series:
    """[rows] uint32, the place of each id among the distinct ``known`` ones, null where it is not
    there."""
    if ids.dtype == pl.Categorical:
        distinct = ids.unique()
        number = ids.to_physical().to_numpy()
        of = np.zeros(int(number.max(initial=0)) + 1, np.uint32)
        of[distinct.to_physical().to_numpy()] = _codes(distinct.cast(pl.String), known).to_numpy()
        return pl.Series(of[number])
    index = pl.DataFrame({"id": known}).with_row_index("code")
    parts = ids.to_frame("id").iter_slices(BLOCK)
    found = [part.join(index, on="id", how="left", maintain_order="left")["code"] for part in parts]
    return pl.concat(found) if found else pl.Series(dtype=pl.UInt32)


def _texts_filled(table: pl.DataFrame, key: str) -> pl.DataFrame:
    """Ids as strings, other strings on one line and "" for null."""
    strings = [name for name in table.columns if table[name].dtype == pl.String and name != key]
    return table.with_columns(
        pl.col(key).cast(pl.String),
        *(pl.Series(name, [clean(value) for value in table[name]]) for name in strings),
    )


def _dated(
    dated: pl.DataFrame | None, catalogue: pl.DataFrame, counts: dict[str, int]
) -> pl.DataFrame:
    kinds = {"item": pl.Int64, "timestamp": pl.Int64, "field": pl.String, "value": pl.String}
    if dated is None:
        return pl.DataFrame(schema=kinds)
    coded = dated.with_columns(_codes(dated["item_id"], catalogue["item_id"]).alias("item"))
    counts["dated_values_of_unknown_items"] = coded["item"].null_count()
    coded = coded.drop_nulls("item").with_columns(
        pl.Series("value", [clean(v) for v in coded.drop_nulls("item")["value"]], dtype=pl.String)
    )
    return coded.filter(pl.col("value") != "").select(
        pl.col(name).cast(kind) for name, kind in kinds.items()
    )
