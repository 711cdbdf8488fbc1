"""Columns of users whose values part them into groups, which are judged apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from coldlm.core.errors import DataError
from coldlm.data.canonical.template import clean

MOST = 20
"""Values of a column: of more groups nobody looks at each."""


def missing_groups(columns: Sequence[str], groups: Sequence[str], path: Path) -> list[str]:
    """Return a problem per group that is no column of the file."""
    return [
        f"dataset.groups: got {name!r}, allowed: {', '.join(columns)} (columns of {path})"
        for name in groups
        if name not in columns
    ]


def user_groups(
    users: pl.DataFrame, columns: Sequence[str], path: Path
) -> dict[str, tuple[str, ...]]:
    """Return column -> [U] the group of each of ``users``, "" of one whose value is missing.

    Raises:
        DataError: a column that is a list, or has more than ``MOST`` values.
    """
    found = {}
    for name in columns:
        if users[name].dtype.is_nested():
            raise DataError(f"dataset.groups: {name!r} of {path} holds lists, not values")
        values = tuple(clean(value) for value in users[name].cast(pl.String))
        if (n := len(set(values) - {""})) > MOST:
            raise DataError(
                f"dataset.groups: {name!r} has {n:,} values in {path}, at most {MOST} are compared; put a "
                "column of coarser values (decades of age, say) into the file"
            )
        found[name] = values
    return found
