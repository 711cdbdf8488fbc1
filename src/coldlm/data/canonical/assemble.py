"""The canonical tables of a data set, and the ``Dataset`` made of them.

```
raw files --reader--> Tables (kept as parquet, see prepared.py) --template, threshold--> Dataset
```
A reader's work ends with ``assemble``. What a user may change without reading the files again, the
text template, what counts as positive and the release rule, is applied by ``to_dataset``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import (
    ALWAYS,
    UNKNOWN,
    Bools,
    Dataset,
    Impressions,
    Ints,
    Items,
    Users,
    sorted_log,
)
from coldlm.data.canonical.template import clean, fill
from coldlm.data.files.raw import release_counts, three


@dataclass(frozen=True)
class Tables:
    """Parsed raw files.

    ``items``: row = code; ``item_id`` (string, distinct), text fields (strings, "" where missing),
    and ``released_at`` (int64 Unix seconds, null where unknown) if the source has it. ``users``:
    row = code; ``user_id``, text fields.
    ``interactions``: ``user``, ``item`` (codes), ``timestamp`` (int64 Unix seconds), ``label``
    (float64), ``event_id`` (int64), sorted by (timestamp, event_id). ``dated``: values that a text
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


@dataclass(frozen=True)
class DatedField:
    """How the values of a field that changes become one: the ``limit`` most frequent so far, the
    earlier first among equals, joined by ", ". ``at_entry``: an item that enters with the slot of
    its first event (under ``release=grid``) shows the first value that it takes in that slot, as
    for a description that was there before anybody bought; False for what users add, such as
    tags."""

    limit: int = 1
    at_entry: bool = True


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
            if the rows are not in the order of the file, ``event_id``.
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
    events = (
        interactions
        if "event_id" in interactions.columns
        else interactions.with_row_index("event_id")
    )
    for name in ("user_id", "item_id", "timestamp", "label"):
        if missing := events[name].null_count():
            raise DataError(f"interactions, column {name!r}: missing in {missing:,} rows")
    lists = (
        pl.DataFrame(schema={"user_id": pl.String, **_LISTS})
        if impressions is None
        else impressions
    )
    places = pl.DataFrame(schema={"item_id": pl.String, **_SHOWN}) if shown is None else shown
    seen_items = _distinct(events["item_id"], places["item_id"])
    seen_users = _distinct(events["user_id"], lists["user_id"])
    catalogue = _with_unknown(items, seen_items, "item_id")
    counted["items_without_metadata"] = len(catalogue) - len(items)
    given = pl.DataFrame(schema={"user_id": seen_users.dtype}) if users is None else users
    people = _with_unknown(given, seen_users, "user_id")
    events = events.select(
        _codes(events["user_id"], people["user_id"]).alias("user").cast(pl.Int64),
        _codes(events["item_id"], catalogue["item_id"]).alias("item").cast(pl.Int64),
        pl.col("timestamp").cast(pl.Int64),
        pl.col("label").cast(pl.Float64),
        pl.col("event_id").cast(pl.Int64),
    )
    return Tables(
        items=_texts_filled(catalogue, "item_id"),
        users=_texts_filled(people, "user_id"),
        interactions=_in_time_order(events),
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


def to_dataset(
    tables: Tables,
    *,
    name: str,
    domain: str,
    text: str,
    title: str,
    positive: Bools | None = None,
    repeats: bool,
    release: str,
    half_lives_days: Sequence[float],
    item_ttl_days: float | None = None,
    dated: Mapping[str, DatedField] | None = None,
    hashes: Mapping[str, str] | None = None,
) -> Dataset:
    """Return the ``Dataset`` of ``tables``.

    Args:
        text: template over the item fields (``tables.items`` and ``dated``).
        title: field shown to people; an item without one shows its id.
        positive: [E] rows of ``interactions`` that are positives; by default all.
        release: "field" (``released_at`` of the items) or "after_first".
        dated: fields of ``tables.dated`` that the template may use.

    Raises:
        DataError: no event, no positive event, or a field of the template that does not exist.
    """
    events, items, rules = tables.interactions, tables.items, dated or {}
    released = np.full(len(items), UNKNOWN, np.int64)
    if release == "field":
        released = items["released_at"].fill_null(UNKNOWN).to_numpy().astype(np.int64)
    label = events["label"].to_numpy()
    wanted = np.ones(len(events), bool) if positive is None else positive
    if len(events) and not wanted.any():
        raise DataError(
            f"{name}: none of {len(events):,} events is a positive; labels reach {label.max():g}"
        )
    user, item, time, event = (
        events[column].to_numpy() for column in ("user", "item", "timestamp", "event_id")
    )
    log = sorted_log(user, item, time, label, wanted, event)
    columns = {
        field: items[field].to_list() for field in items.columns if items[field].dtype == pl.String
    }
    ids = tuple(columns["item_id"])
    texts = _Texts(text, columns, tables.dated, rules, len(items))
    latest = np.full(len(items), UNKNOWN, np.int64)
    shown = columns[title] if title in columns else texts.values(title, latest, latest)[0]
    catalogue = Items(
        ids=ids,
        titles=tuple(value or f"item {item}" for value, item in zip(shown, ids, strict=True)),
        # the cut is not known yet: see with_texts_as_of
        texts=texts(*[np.zeros(len(items), np.int64)] * 2)[0],
        released_at=released,
    )
    profile = [column for column in tables.users.columns if column != "user_id"]
    profiles = (
        fill(
            " | ".join(f"{{{column}}}" for column in profile),
            {c: tables.users[c].to_list() for c in profile},
        )
        if profile
        else ("",) * len(tables.users)
    )
    return Dataset(
        name=name,
        domain=domain,
        items=catalogue,
        users=Users(tuple(tables.users["user_id"].to_list()), profiles),
        log=log,
        repeats=repeats,
        release=release,
        half_lives_days=three(half_lives_days),
        item_ttl_days=item_ttl_days,
        counts={
            **tables.counts,
            "items_without_text": texts(latest, latest)[0].count(""),
            **(release_counts(catalogue, log) if release == "field" else {}),
        },
        hashes=dict(hashes or {}),
        texts_as_of=texts if rules else None,
        log_starts_at=tables.log_starts_at,
        impressions=_lists(tables) if len(tables.impressions) else None,
    )


def _lists(tables: Tables) -> Impressions:
    lists, shown = tables.impressions, tables.shown
    start = np.append(0, np.cumsum(lists["size"].to_numpy())).astype(np.int64)
    item, clicked = shown["item"].to_numpy().astype(np.int64), shown["clicked"].to_numpy()
    return Impressions(
        lists["user"].to_numpy(), lists["timestamp"].to_numpy(), start, item, clicked
    )


class _Texts:
    """[N] times -> [N] texts as they were known strictly before each item's time, and [N] when the
    newest value in each was made (0 where none changes). ``until``: [N] seconds before which a
    value may be made that stands in at entry."""

    def __init__(
        self,
        template: str,
        columns: Mapping[str, Sequence[str]],
        dated: pl.DataFrame,
        rules: Mapping[str, DatedField],
        n_items: int,
    ) -> None:
        self._template, self._columns, self._dated, self._rules, self._n = (
            template,
            columns,
            dated,
            rules,
            n_items,
        )

    def __call__(self, times: Ints, until: Ints) -> tuple[tuple[str, ...], Ints]:
        columns, known_at = dict(self._columns), np.zeros(self._n, np.int64)
        for name in self._rules:
            columns[name], newest = self.values(name, times, until)
            known_at = np.maximum(known_at, newest)
        return fill(self._template, columns), known_at

    def values(self, name: str, times: Ints, until: Ints) -> tuple[list[str], Ints]:
        """Return the field ``name`` of every item, and when its newest value was made."""
        rule, rows = self._rules[name], self._dated.filter(field=name)
        known = rows.filter(
            rows["timestamp"] < pl.Series(times[rows["item"].to_numpy()], dtype=pl.Int64)
        )
        ranked = (
            known.group_by("item", "value")
            .agg(
                pl.len().alias("uses"),
                pl.col("timestamp").min().alias("first"),
                pl.col("timestamp").max(),
            )
            .sort("item", "uses", "first", "value", descending=[False, True, False, False])
            .group_by("item", maintain_order=True)
            .agg(pl.col("value").head(rule.limit).str.join(", "), pl.col("timestamp").max())
        )
        found, newest = [""] * self._n, np.zeros(self._n, np.int64)
        if rule.at_entry:
            first = rows.sort("timestamp", maintain_order=True).unique(
                "item", keep="first", maintain_order=True
            )
            for item, value, time in first.select("item", "value", "timestamp").iter_rows():
                if time < until[item]:
                    found[item], newest[item] = value, time
        for item, value, time in ranked.iter_rows():
            found[item], newest[item] = value, time
        return found, newest


_LISTS = {"timestamp": pl.Int64, "size": pl.Int64}
_SHOWN = {"clicked": pl.Boolean}

BLOCK = 1_000_000
"""Rows that are joined at once."""


def _distinct(*columns: pl.Series) -> pl.Series:
    """The distinct ids of all columns that hold some, categories as strings."""
    parts = [column.unique() for column in columns if len(column)] or [columns[0]]
    return pl.concat(
        [p.cast(pl.String) if p.dtype == pl.Categorical else p for p in parts]
    ).unique()


def _in_time_order(events: pl.DataFrame) -> pl.DataFrame:
    """Sorted by (timestamp, event id). Where the ids ascend already, as row numbers do, a stable
    sort by time alone gives the same order in half the time."""
    if events["event_id"].is_sorted():
        return events.sort("timestamp", maintain_order=True)
    return events.sort("timestamp", "event_id")


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
