"""The data set that was read last, as long as somebody holds it: the cells of a sweep ask for the same
one again."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from typing import Any

from coldlm.core.tables import Dataset, read_only

_LAST: dict[str, weakref.ref[Dataset]] = {}
"""What one data set is made from -> the data set."""


def remembered(made_from: list[Any], read: Callable[[], Dataset]) -> Dataset:
    """Return what ``read`` returns: the very object that it returned the last time, if that was made
    from the same and is still in use. Its arrays are read-only, for it may belong to several.

    Args:
        made_from: all that ``read`` depends on, plain values: who reads, its keys, and the sha256 of
            each file. Never a path alone: its content may change.
    """
    key = json.dumps(made_from, sort_keys=True)
    known = _LAST[key]() if key in _LAST else None
    if known is not None:
        return known
    _LAST.clear()
    data = read()
    read_only(data)
    _LAST[key] = weakref.ref(data)
    return data
