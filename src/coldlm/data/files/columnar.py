"""Parquet files whose columns are known by name and kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import polars as pl

from coldlm.core.errors import DataError
from coldlm.data.files.raw import missing_columns, name_rows, parquet_schema, read_parquet, refuse

Kind = pl.DataType | type[pl.DataType]

KINDS: Final[Mapping[str, tuple[Callable[[pl.DataType], bool], Kind]]] = {
    "id": (lambda kind: kind.is_integer(), pl.Int64),
    "ids": (lambda kind: isinstance(kind, pl.List) and kind.inner.is_integer(), pl.List(pl.Int64)),
    "time": (lambda kind: isinstance(kind, pl.Datetime), pl.Datetime("us")),
    "times": (
        lambda kind: isinstance(kind, pl.List) and isinstance(kind.inner, pl.Datetime),
        pl.List(pl.Datetime("us")),
    ),
    "text": (lambda kind: kind == pl.String, pl.String),
    "texts": (lambda kind: kind == pl.List(pl.String), pl.List(pl.String)),
}
"""Kind -> (whether a type of a column is one, the type that it becomes)."""


def read_columns(
    path: Path, kinds: Mapping[str, str], optional: frozenset[str] = frozenset()
) -> pl.DataFrame:
    """Return the columns ``kinds`` names (-> kind, see ``KINDS``), in this order; times without a
    zone, UTC.

    Args:
        optional: columns that may be null in some rows.

    Raises:
        DataError: no parquet file, no row, a column that is missing, of another type, or null; with
            row and column.
    """
    schema = parquet_schema(path)
    refuse(missing_columns(path, list(schema), list(kinds)))
    refuse(
        [
            f"{path}, column {name!r}: values of type {schema[name]}, expected {KINDS[kind][1]}; "
            "get it anew"
            for name, kind in kinds.items()
            if not KINDS[kind][0](schema[name])
        ]
    )
    table = read_parquet(path, list(kinds)).select(
        pl.col(name).cast(KINDS[kind][1]) for name, kind in kinds.items()
    )
    for name in sorted(set(kinds) - optional):
        missing = table[name].is_null()
        if missing.any():
            raise DataError(f"{path}, column {name!r}: missing in {name_rows(missing.to_numpy())}")
    return table
