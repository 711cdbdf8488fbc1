"""Files of what came since: items and events as ``own.py`` has them, for a run over any data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from coldlm.core.tables import Bools, Floats, Ints, Items
from coldlm.data.canonical.template import clean, fields
from coldlm.data.files.formats import MICRO
from coldlm.data.files.ids import read_ids
from coldlm.data.files.own import Keys, Notes, open_table, open_tables, read_events, read_items


@dataclass(frozen=True)
class MoreEvents:
    """[E] events in time order. ``text``: that was typed, "" where nothing was."""

    user: list[str]
    item: list[str]
    time: Ints
    label: Floats
    positive: Bools
    text: list[str]


def read_more_items(path: Path, keys: Keys) -> Items:
    """Return new items: ``item_id`` and text columns.

    Args:
        keys: the run's; its template is taken if the file has its fields, else all text columns are
            joined.

    Raises:
        DataError: what cannot be read.
    """
    names = open_table(path, keys, "items").names
    has_all = keys.text is not None and set(fields(keys.text)) <= set(names)
    released = keys.released_at if keys.released_at in names else None
    return read_items(path, keys if has_all else replace(keys, text=None, released_at=released))


def read_more_events(path: Path, keys: Keys) -> MoreEvents:
    """Return events: ``user_id``, ``item_id``, ``timestamp``, and, if there are such columns, a label
    and the ``query`` that was typed.

    Args:
        keys: the run's.

    Raises:
        DataError: what cannot be read, with file, column and row.
    """
    notes = Notes()
    table = open_tables({"interactions": path}, keys, notes)["interactions"]
    user, item = (read_ids(table, name).to_list() for name in ("user_id", "item_id"))
    micros, label, positive = read_events(table, keys, notes)
    typed = table["query"].cast(pl.String).to_list() if "query" in table.names else []
    text = [clean(value) for value in typed] or [""] * len(table)
    order = np.argsort(micros, kind="stable")
    return MoreEvents(
        [user[row] for row in order.tolist()],
        [item[row] for row in order.tolist()],
        micros[order] // MICRO,
        label[order],
        positive[order],
        [text[row] for row in order.tolist()],
    )
