"""The ``Dataset`` made of canonical tables: what a user may change without reading the files again,
the text template, what counts as positive and the release rule, is applied here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import (
    UNKNOWN,
    Bools,
    Dataset,
    Impressions,
    Ints,
    Items,
    Log,
    Users,
    sorted_log,
)
from coldlm.data.canonical.assemble import Tables
from coldlm.data.canonical.dated import DatedField, TextsAsOf
from coldlm.data.canonical.template import fill
from coldlm.data.canonical.typed import COLUMN, coded
from coldlm.data.files.raw import release_counts, three


def to_dataset(
    tables: Tables,
    *,
    name: str,
    domain: str,
    text: str,
    title: str,
    profile: str | None = None,
    positive: Bools | None = None,
    repeats: bool,
    release: str,
    half_lives_days: Sequence[float],
    item_ttl_days: float | None = None,
    dated: Mapping[str, DatedField] | None = None,
    hashes: Mapping[str, str] | None = None,
    groups: Mapping[str, tuple[str, ...]] | None = None,
) -> Dataset:
    """Return the ``Dataset`` of ``tables``.

    Args:
        text: template over the item fields (``tables.items`` and ``dated``).
        title: field shown to people; an item without one shows its id.
        profile: template over the user fields; by default all of them, joined by " | ".
        positive: [E] rows of ``interactions`` that are positives; by default all.
        release: "field" (``released_at`` of the items) or "after_first".
        dated: fields of ``tables.dated`` that the template may use.
        groups: see ``Users``.

    Raises:
        DataError: no event, no positive event, or a field of the template that does not exist.
    """
    items, rules = tables.items, dated or {}
    events = tables.interactions
    queries, query = coded(events[COLUMN]) if COLUMN in events.columns else ((), None)
    log = _log(events, positive, query, name)
    columns = {
        field: items[field].to_list() for field in items.columns if items[field].dtype == pl.String
    }
    texts = TextsAsOf(text, columns, tables.dated, rules, len(items))
    catalogue = _catalogue(items, columns, texts, title=title, release=release)
    latest = np.full(len(items), UNKNOWN, np.int64)
    return Dataset(
        name=name,
        domain=domain,
        items=catalogue,
        users=Users(
            tuple(tables.users["user_id"].to_list()),
            _profiles(tables.users, profile),
            dict(groups or {}),
            queries,
        ),
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
        impressions=_lists(tables.impressions, tables.shown) if len(tables.impressions) else None,
    )


def _log(events: pl.DataFrame, positive: Bools | None, query: Ints | None, name: str) -> Log:
    label = events["label"].to_numpy()
    wanted = np.ones(len(events), bool) if positive is None else positive
    if len(events) and not wanted.any():
        raise DataError(
            f"{name}: none of {len(events):,} events is a positive; labels reach {label.max():g}"
        )
    user, item, time, event = (
        events[column].to_numpy() for column in ("user", "item", "timestamp", "event_id")
    )
    return sorted_log(user, item, time, label, wanted, event, query)


def _catalogue(
    items: pl.DataFrame,
    columns: Mapping[str, Sequence[str]],
    texts: TextsAsOf,
    *,
    title: str,
    release: str,
) -> Items:
    """``columns``: fields that do not change."""
    released = np.full(len(items), UNKNOWN, np.int64)
    if release == "field":
        released = items["released_at"].fill_null(UNKNOWN).to_numpy().astype(np.int64)
    latest = np.full(len(items), UNKNOWN, np.int64)
    shown = columns[title] if title in columns else texts.values(title, latest, latest)[0]
    ids = tuple(columns["item_id"])
    return Items(
        ids=ids,
        titles=tuple(value or f"item {item}" for value, item in zip(shown, ids, strict=True)),
        # the cut is not known yet: see with_texts_as_of
        texts=texts(*[np.zeros(len(items), np.int64)] * 2)[0],
        released_at=released,
    )


def _profiles(users: pl.DataFrame, template: str | None) -> tuple[str, ...]:
    names = [column for column in users.columns if column != "user_id"]
    if not names:
        return ("",) * len(users)
    columns = {name: users[name].to_list() for name in names}
    return fill(template or " | ".join(f"{{{name}}}" for name in names), columns)


def _lists(lists: pl.DataFrame, shown: pl.DataFrame) -> Impressions:
    start = np.append(0, np.cumsum(lists["size"].to_numpy())).astype(np.int64)
    item, clicked = shown["item"].to_numpy().astype(np.int64), shown["clicked"].to_numpy()
    return Impressions(
        lists["user"].to_numpy(), lists["timestamp"].to_numpy(), start, item, clicked
    )
