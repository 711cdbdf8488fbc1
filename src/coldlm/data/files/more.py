"""Files of what came since: items and events as ``own.py`` has them, for a run over any data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from coldlm.core.tables import Bools, Floats, Ints, Items
from coldlm.data.canonical.template import clean, fields
from coldlm.data.files.fields import read_table
from coldlm.data.files.own import labels, read_items
from coldlm.data.files.raw import missing_columns, read_ids, refuse
from coldlm.data.files.times import seconds


@dataclass(frozen=True)
class MoreEvents:
    """[E] events in time order. ``text``: that was typed, "" where nothing was."""

    user: list[str]
    item: list[str]
    time: Ints
    label: Floats
    positive: Bools
    text: list[str]


def read_more_items(path: Path, text: str | None, released_at: str | None) -> Items:
    """Return new items: ``item_id`` and text columns.

    Args:
        text: the run's template, taken if the file has its fields; else all text columns are joined.
        released_at: the column with the release time, ``released_at`` by default.

    Raises:
        DataError: what cannot be read.
    """
    names = read_table(path).columns
    refuse(missing_columns(path, names, ["item_id"]))
    has_all = text is not None and set(fields(text)) <= set(names)
    return read_items(path, text if has_all else None, released_at, {})[0]


def read_more_events(path: Path, label: str | None, positive_from: float | None) -> MoreEvents:
    """Return events: ``user_id``, ``item_id``, ``timestamp`` or ``time``, and, if there are such
    columns, a label and the ``query`` that was typed.

    Args:
        label: the column with it, ``label`` by default. positive_from: the least label of a positive;
            by default those above 0 are.

    Raises:
        DataError: what cannot be read, with file, column and row.
    """
    table = read_table(path)
    if "timestamp" not in table.columns and "time" in table.columns:
        table = table.rename({"time": "timestamp"})
    refuse(missing_columns(path, table.columns, ["user_id", "item_id", "timestamp"]))
    user, item = (read_ids(table, name, path) for name in ("user_id", "item_id"))
    time = seconds(table["timestamp"], f"{path}, column 'timestamp'")[0]
    column = label or ("label" if "label" in table.columns else None)
    values = labels(table[column], path) if column in table.columns else np.ones(len(table))
    positive = values > 0 if positive_from is None or column is None else values >= positive_from
    typed = table["query"].cast(pl.String).to_list() if "query" in table.columns else []
    text = [clean(value) for value in typed] or [""] * len(table)
    order = np.argsort(time, kind="stable").tolist()
    return MoreEvents(
        [user[row] for row in order],
        [item[row] for row in order],
        time[order],
        values[order],
        positive[order],
        [text[row] for row in order],
    )
