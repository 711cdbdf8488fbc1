"""Texts of items and profiles from the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from coldlm.core.errors import DataError
from coldlm.data.canonical.template import clean, fields, fill
from coldlm.data.files.figures import AGGREGATES, is_figures, plain
from coldlm.data.files.table import Table


def text_columns(table: pl.DataFrame, others: Sequence[str | None]) -> list[str]:
    """Return the names of the text columns, ``title`` first. Strings that are all figures are no text: a csv
    has no types, and columns such as an average rating, made after the fact, would leak the future
    into the text; nor are columns that are called as such."""
    names = [
        name
        for name in table.columns
        if name not in others
        and table[name].dtype in (pl.String, pl.Categorical, pl.Enum)
        and (name == "title" or not _set_aside(name, table[name]))
    ]
    return sorted(names, key=lambda name: name != "title")


def set_aside(table: Table, others: Sequence[str | None]) -> dict[str, str]:
    """Return the columns of strings that are no text, by their own names -> why."""
    return {
        table.said.get(name, name): why
        for name in table.names
        if name not in others and name != "title"
        and (table[name].dtype.is_numeric() or table[name].dtype == pl.String)
        and (why := _set_aside(name, table[name]))
    }  # fmt: skip


def crowd_fields(template: str, table: Table) -> list[str]:
    """Return a warning per field of a template whose name says what a crowd did until the table was
    made."""
    return [
        f"{{{name}}} in dataset.text tells what a crowd did until {table.path.name} was made, after most "
        "events: it may tell the future"
        for name in dict.fromkeys(fields(template))
        if plain(name) in AGGREGATES
    ]


def texts(table: Table, template: str) -> tuple[str, ...]:
    """Return [rows] the template filled. Numbers, dates and truth values are written out, lists joined by
    ", ".

    Raises:
        DataError: a field that holds structures.
    """
    columns = {
        name: [clean(value) for value in _written(table, name)]
        for name in table.names
        if f"{{{name}}}" in template
    }
    return fill(template, columns)


def _set_aside(name: str, column: pl.Series) -> str:
    """Why a column is no text, or ""."""
    if plain(name) in AGGREGATES:
        return "what a crowd did until the table was made"
    if column.dtype.is_numeric() or is_figures(column):
        return "figures"
    return ""


def _written(table: Table, name: str) -> pl.Series:
    column = table[name]
    if isinstance(column.dtype, pl.List | pl.Array):
        inner = column.dtype.inner
        if not (inner or pl.String()).is_nested():
            return column.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
    if column.dtype.is_nested() or column.dtype == pl.Object:
        raise DataError(
            f"{table.where(name)}: structures cannot be text; write what matters into a column of strings"
        )
    if column.dtype.is_float() and (column == column.round()).all():  # years with gaps, say
        column = column.cast(pl.Int64, strict=False)
    return column.cast(pl.String)
