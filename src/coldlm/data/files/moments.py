"""Points in time as people's tables have them: the format is found out where only one is possible, and
said; where several are, the column is refused with the readings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import DAY, Bools
from coldlm.data.files.formats import ALLOWED, DIGITS, MICRO, SPLIT, UNITS, read_format, split_date


@dataclass(frozen=True)
class Moments:
    """``micros``: [rows] Int64, microseconds since 1970, null where the column is. ``format``: what was
    found, one of ``FORMATS`` or a pattern."""

    micros: pl.Series
    format: str


def read_moments(
    column: pl.Series,
    where: str,
    rows: Callable[[Bools], str],
    *,
    key: str,
    format: str | None = None,
    day_first: bool | None = None,
) -> Moments:
    """Return the moments of a column; those without a zone are UTC.

    Args:
        column: as read. ``where``: file and column; ``rows``: marked rows in words; ``key``: the key
            that sets ``format``; all for messages.
        format: what it is, where the user says so.
        day_first: whether 1/2/2024 is in February, where the user says so.

    Raises:
        DataError: a value that is no time in the format of the others; several formats that fit all.
    """
    if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        return Moments(column.cast(pl.Datetime("us")).to_physical(), str(column.dtype))
    if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Categorical, pl.Enum)):
        raise DataError(f"{where}: values of type {column.dtype}; expected times")
    text = column.cast(pl.String).str.strip_chars().str.replace(r"^([+-]?\d+)\.0+$", "${1}")
    text = text.replace("", None).str.replace(r"\s?(?:UTC|GMT)$", "+00:00")
    short = text.str.contains(r"^[\d.]+[eE]\+?\d+$").fill_null(False)
    if short.any() and not column.dtype.is_numeric():
        raise DataError(
            f"{where}: {text.filter(short)[0]!r} in {rows(short.to_numpy())} has lost digits, as a "
            "spreadsheet cuts them; export the column as text or as dates"
        )
    found = format or _find_format(text, where, rows, key, day_first)
    try:
        micros = read_format(text, found)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{key}={found}: {reason}; {ALLOWED}") from error
    bad = (text.is_not_null() & micros.is_null()).to_numpy()
    if bad.any():
        value = column.filter(pl.Series(bad))[0]
        all_bad = bool((bad == text.is_not_null().to_numpy()).all())
        expected = "" if all_bad and not format else f" of the format {found}"
        raise DataError(
            f"{where}: {value!r} in {rows(bad)} is not a time{expected}; {key}: {ALLOWED}"
        )
    return Moments(micros, found)


def suspicions(moments: Moments, column: pl.Series, where: str, key: str) -> list[str]:
    """Return what is strange about the span of a column of events: all of it in 1970, or after today."""
    seconds = moments.micros.drop_nulls() // MICRO
    if not len(seconds):
        return []
    first, last = (
        int(seconds.to_numpy()[place]) for place in (seconds.arg_min() or 0, seconds.arg_max() or 0)
    )
    now = int(datetime.now(UTC).timestamp())
    said = []
    if first >= 0 and last < 365 * DAY and moments.format in UNITS:
        others = [
            f"{name} would be {_day(micros)}"
            for name in ("excel", "ms", "s")
            if name != moments.format
            and _is_likely(micros := read_format(column.cast(pl.String).head(1), name), now)
        ]
        said.append(
            f"{where}: all times are in 1970, read as {moments.format}; are they what you mean?"
            + (f" {'; '.join(others)}: {key}={others[0].split()[0]}" if others else "")
        )
    if last > now + DAY:
        late = int((seconds > now + DAY).sum())
        said.append(
            f"{where}: {late:,} of {len(seconds):,} times are after today, up to "
            f"{_day(pl.Series([last * MICRO]))}, read as {moments.format}; another format is set by "
            f"{key}"
        )
    return said


def _is_likely(micros: pl.Series, now: int) -> bool:
    value = micros[0] if len(micros) else None
    return value is not None and 365 * DAY * MICRO < value < (now + DAY) * MICRO


def _day(micros: pl.Series) -> str:
    return str(micros.head(1).cast(pl.Datetime("us"))[0])[:10]


def _find_format(
    text: pl.Series, where: str, rows: Callable[[Bools], str], key: str, day_first: bool | None
) -> str:
    """The format that all values fit; where none does, that of most of them."""
    given = text.drop_nulls()
    numbers = given.cast(pl.Float64, strict=False)
    if not len(given):
        return "iso"
    if numbers.null_count() * 2 < len(given):
        return _find_number(given, numbers.drop_nulls(), text, where, rows, key)
    split = given.str.contains(SPLIT)
    iso = given.str.contains(r"^\d{4}-\d{2}-\d{2}")
    if iso.sum() >= split.sum():
        return "iso"
    return _find_order(text, where, rows, key, day_first)


def _find_number(
    given: pl.Series,
    numbers: pl.Series,
    text: pl.Series,
    where: str,
    rows: Callable[[Bools], str],
    key: str,
) -> str:
    """A date in digits if all are one, else a unit by magnitude."""
    for name, pattern in DIGITS.items():
        length = len(datetime(2000, 1, 1).strftime(pattern))
        # were a few of them no dates, to read all as seconds would be worse than to refuse those
        if given.str.contains(rf"^(?:19|20)\d{{{length - 2}}}$").all() and (
            read_format(given, name).null_count() * 2 < len(given)
        ):
            return name
    size = numbers.abs()
    unit = pl.select(
        pl.when(size < 1e11)
        .then(0)
        .when(size < 1e14)
        .then(1)
        .when(size < 1e17)
        .then(2)
        .otherwise(3)
    ).to_series()
    kinds = unit.unique().sort()
    if len(kinds) > 1 and size.min():
        low, high = (list(UNITS)[int(kinds[place])] for place in (0, -1))
        of_all = text.cast(pl.Float64, strict=False).abs()
        bad = (of_all >= 10.0 ** (8 + 3 * int(kinds[-1]))).fill_null(False).to_numpy()
        raise DataError(
            f"{where}: {given.filter(unit == kinds[0])[0]} would be {low} and "
            f"{given.filter(unit == kinds[-1])[0]} in {rows(bad)} {high} (s, ms, us and ns are told by "
            f"size); write all in one unit, or set {key}"
        )
    return list(UNITS)[int(kinds[-1])]


def _find_order(
    text: pl.Series, where: str, rows: Callable[[Bools], str], key: str, day_first: bool | None
) -> str:
    """The order of year, month and day."""
    parts = split_date(text)
    if parts["first"].str.len_chars().drop_nulls().eq(4).any():
        return "ymd"
    first, second = (parts[name].cast(pl.Int64) for name in ("first", "second"))
    no_month, no_day = (first > 12).fill_null(False), (second > 12).fill_null(False)
    short = (parts["third"].str.len_chars() != 4).fill_null(False)
    if short.any():
        value = text.filter(short)[0]
        raise DataError(
            f"{where}: {value!r} in {rows(short.to_numpy())} has no year of four digits; set {key} to "
            "its pattern, such as %d/%m/%y or %m/%d/%y"
        )
    if no_month.any() and no_day.any():
        raise DataError(
            f"{where}: {text.filter(no_month)[0]!r} in {rows(no_month.to_numpy())} has the day first, "
            f"{text.filter(no_day)[0]!r} in {rows(no_day.to_numpy())} the month; write all in one order"
        )
    if no_month.any() or no_day.any():
        if day_first is not None and day_first != bool(no_month.any()):
            value = text.filter(no_month if no_month.any() else no_day)[0]
            raise DataError(
                f"{where}: {value!r} contradicts dataset.day_first={str(day_first).lower()}"
            )
        return "dmy" if no_month.any() else "mdy"
    if day_first is None and (first != second).any():
        differ = text.filter((first != second).fill_null(False)).head(1)
        raise DataError(
            f"{where}: {differ[0]!r} is {_day(read_format(differ, 'dmy'))} with the day first, "
            f"{_day(read_format(differ, 'mdy'))} with the month first, and no row tells which; set "
            "dataset.day_first=true or dataset.day_first=false"
        )
    return "mdy" if day_first is False else "dmy"
