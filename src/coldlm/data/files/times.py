"""Points in time as files write them, turned into whole Unix seconds."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import UNKNOWN, Ints
from coldlm.data.files.raw import name_rows

MILLISECONDS_FROM = 100_000_000_000
"""As seconds this would be the year 5138."""

_EXPECTED = (
    "expected whole Unix seconds (1262304000), an ISO date or time (2010-01-01T00:00:00Z), "
    "or a datetime column"
)


def seconds(column: pl.Series, where: str, optional: bool = False) -> tuple[Ints, int]:
    """Return [rows] int64 Unix seconds, and how many of them lost a fraction of a second.

    Integers, also as strings, are seconds; strings are otherwise ISO 8601; times without a zone are
    UTC; fractions of a second are cut off.

    Args:
        column: as read; ``where``: file and column, for messages.
        optional: nulls become ``UNKNOWN`` and times before 1970 are allowed (releases); otherwise
            both are errors.

    Raises:
        DataError: missing, negative or unreadable values, or milliseconds; names the first rows.
    """
    if column.dtype == pl.String:
        micros = _from_strings(column, where)
    elif column.dtype.is_integer():
        micros = _from_integers(column, where)
    elif column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        micros = column.cast(pl.Datetime("us")).to_physical()
    else:
        raise DataError(f"{where}: values of type {column.dtype}; {_EXPECTED}")
    missing = micros.is_null().to_numpy()
    if missing.any() and not optional:
        raise DataError(f"{where}: missing in {name_rows(missing)}; every row needs a time")
    values = micros.fill_null(0).to_numpy()
    if (values < 0).any() and not optional:
        raise DataError(f"{where}: before 1970 in {name_rows(values < 0)}; {_EXPECTED}")
    return np.where(missing, UNKNOWN, values // 1_000_000), int((values % 1_000_000 > 0).sum())


def _from_integers(column: pl.Series, where: str) -> pl.Series:
    """Microseconds from seconds; the bound keeps the product inside int64."""
    whole = column.cast(pl.Int64, strict=False)
    large = (
        (column.is_not_null() & (whole.is_null() | (whole.abs() > MILLISECONDS_FROM)))
        .fill_null(False)
        .to_numpy()
    )
    if large.any():
        value = column.to_list()[int(np.argmax(large))]
        raise DataError(
            f"{where}: {value} in {name_rows(large)} looks like milliseconds; divide by 1,000"
        )
    return whole * 1_000_000


def _from_strings(column: pl.Series, where: str) -> pl.Series:
    integers = column.cast(pl.Int64, strict=False)
    given = column.is_not_null()
    if integers.is_not_null().any():
        bad = (given & integers.is_null()).to_numpy()
        micros = _from_integers(integers, where) if not bad.any() else integers
    else:
        micros = pl.Series([from_iso(text) for text in column], dtype=pl.Int64)
        bad = (given & micros.is_null()).to_numpy()
    if bad.any():
        value = column.to_list()[int(np.argmax(bad))]
        raise DataError(f"{where}: {value!r} in {name_rows(bad)} is not a time; {_EXPECTED}")
    return micros


def from_iso(text: str | None) -> int | None:
    """Return microseconds since 1970, None for what is no ISO date or time."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
