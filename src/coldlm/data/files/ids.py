"""Ids of users and items: strings at last, compared exactly; "nan" is one like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import Bools, Ints
from coldlm.data.files.table import PARQUET, Table

EXACT: Final = 2**53
"""Above this a float does not hold every whole number."""

_AS_FLOAT: Final = r"^-?\d+\.0+$"


def read_ids(table: Table, name: str) -> pl.Series:
    """Return the column as strings, never stripped; whole numbers are written out.

    Raises:
        DataError: values of another type, numbers that are not whole or not exact, missing values, or a
            NUL in one.
    """
    column, where = table[name], table.where(name)
    if column.dtype.is_float():
        ids = column.drop_nulls()
        if not ((ids == ids.round()) & (ids.abs() < EXACT)).all():
            raise DataError(
                f"{where}: ids of type {column.dtype} that are no whole numbers below 2^53; write "
                "them as strings or integers"
            )
        column = column.cast(pl.Int64)
    if not (column.dtype in (pl.String, pl.Categorical, pl.Enum) or column.dtype.is_integer()):
        raise DataError(f"{where}: ids of type {column.dtype}; expected strings or integers")
    column = column.cast(pl.String).fill_null("")
    for what, wrong in (
        ("missing", column == ""),
        ("a NUL byte", column.str.contains("\0", literal=True)),
    ):
        if wrong.any():
            bad = wrong.to_numpy()
            last = "; a row of sums is no event: remove it" if bad[-1] and bad.sum() == 1 else ""
            raise DataError(f"{where}: {what} in {table.rows(bad)}{last}")
    return column


def distinct(ids: pl.Series, name: str, table: Table) -> tuple[str, ...]:
    """Return the ids as they are, refused if one occurs twice."""
    again = ~ids.is_first_distinct().to_numpy()
    if again.any():
        raise DataError(
            f"{table.where(name)}: {ids[int(np.argmax(again))]!r} again in {table.rows(again)}; ids "
            "must be distinct"
        )
    return tuple(ids)


def alike(name: str, tables: Sequence[Table], found: dict[str, str]) -> list[pl.Series]:
    """Return the ids of the column in each table. Where all of one are written as floats and none of
    another, as a column with gaps leaves them ("8.0" for "8"), they are written as the other's, and
    ``found`` says so.

    Raises:
        DataError: see ``read_ids``; numbers in one file and strings in another, both of which have types.
    """
    _refuse_mixed(name, tables)
    ids = [read_ids(table, name) for table in tables]
    floats = [column.str.contains(_AS_FLOAT) for column in ids]
    if any(f.all() for f in floats) and any(not f.any() for f in floats):
        for place, (table, is_float) in enumerate(zip(tables, floats, strict=True)):
            if is_float.all():
                first = ids[place][0]
                ids[place] = ids[place].str.replace(r"\.0+$", "")
                found[f"{name} of {table.path.name}"] = f"{first} read as {ids[place][0]}"
    return ids


def codes(ids: pl.Series, known: Sequence[str]) -> Ints:
    """Return the place of each id among the ``known`` ones, -1 for others."""
    names = pl.Series(known, dtype=pl.String)
    places = pl.int_range(len(names), eager=True)
    found: Ints = ids.replace_strict(names, places, default=-1, return_dtype=pl.Int64).to_numpy()
    return found


def item_codes(ids: pl.Series, known: Sequence[str], items: Table, events: Table) -> Ints:
    """Return [E] the items of the interactions, by their place in the catalogue.

    Raises:
        DataError: some are not in it, with counts.
    """
    item = codes(ids, known)
    if not (unknown := item < 0).any():
        return item
    name = ids[int(np.argmax(unknown))]
    ways: Mapping[str, Callable[[str], str]] = {
        "case and blanks count": lambda each: each.strip().casefold(),
        "digits behind a point count": lambda each: each.removesuffix(".0"),
        "zeros at the front count": lambda each: each.lstrip("0"),
    }
    near = (
        f"; {each!r} is another id: {why}"
        for why, way in ways.items()
        for each in known
        if way(each) == way(name)
    )
    raise DataError(
        f"{events.where('item_id')}: {name!r} in {events.rows(unknown)} is not among the items of "
        f"{items.path}{next(near, '')}{_how_many(ids, unknown)}"
    )


def _how_many(ids: pl.Series, unknown: Bools) -> str:
    n = ids.filter(pl.Series(unknown)).n_unique()
    return (
        f" ({n:,} such items in {int(unknown.sum()):,} of {len(ids):,} rows; "
        "dataset.unlisted_items=keep keeps them, without a text)"
    )


def _refuse_mixed(name: str, tables: Sequence[Table]) -> None:
    """A parquet file says whether an id is the number 1 or the text "1", and these are two ids; a
    csv does not."""
    kinds = {
        "whole numbers" if table[name].dtype.is_numeric() else "strings": table
        for table in tables
        if table.path.suffix.lower() in PARQUET or table.path.is_dir()
    }
    if len(kinds) > 1:
        said = " and ".join(f"{kind} in {table.path}" for kind, table in kinds.items())
        table = tables[-1]
        raise DataError(
            f"{table.where(name)}: ids of type {table[name].dtype}: {said}; 1 and '1' are two ids: write "
            "both files alike"
        )
