"""How points in time are written, by the names of formats, and what each reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import polars as pl

from coldlm.core.tables import DAY
from coldlm.data.files.times import from_iso

MICRO: Final = 1_000_000
"""Microseconds of a second."""

UNITS: Final[Mapping[str, int]] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Unit -> how many make a second."""

DIGITS: Final[Mapping[str, str]] = {
    "year": "%Y", "yyyymm": "%Y%m", "yyyymmdd": "%Y%m%d", "yyyymmddhhmm": "%Y%m%d%H%M",
    "yyyymmddhhmmss": "%Y%m%d%H%M%S",
}  # fmt: skip
"""Dates that are written as one number -> their pattern."""

FORMATS: Final = (*UNITS, *DIGITS, "excel", "iso", "ymd", "dmy", "mdy")
"""Names of formats; any other is a pattern such as ``%d.%m.%Y %H:%M``."""

ALLOWED: Final = f"{', '.join(FORMATS)}, or a pattern such as '%d.%m.%y %H:%M'"

_EXCEL_1970: Final = 25_569
"""Days from Excel's first day to 1970."""

SPLIT: Final = (
    r"^\s*(\d{1,4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,4})日?"
    r"(?:[T,\s]\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,6})\d*)?)?\s*([AaPp]\.?[Mm]\.?)?)?\s*$"
)
_PARTS: Final = ("first", "second", "third", "hour", "minute", "seconds", "fraction", "half")
_ORDERS: Final[Mapping[str, tuple[str, str, str]]] = {
    "ymd": ("first", "second", "third"),
    "dmy": ("third", "second", "first"),
    "mdy": ("third", "first", "second"),
}
"""Order -> which part is the year, the month and the day."""


def read_format(text: pl.Series, format: str) -> pl.Series:
    """Return [rows] microseconds since 1970 of what is written in this format, null of what is not.

    Raises:
        PolarsError: a pattern that is none.
    """
    if format in UNITS:
        return _from_numbers(text, UNITS[format])
    if format == "excel":
        days = text.cast(pl.Float64, strict=False)
        days = days.set(~days.is_between(1, 110_000).fill_null(False), None)
        return ((days - _EXCEL_1970) * DAY).round().cast(pl.Int64) * MICRO
    if format == "iso":
        micros = read_format(text, "ymd")  # most need no more, and it is fast
        rest = text.is_not_null() & micros.is_null()
        if rest.any():
            slow = [from_iso(value) for value in text.filter(rest)]
            micros = micros.scatter(rest.arg_true(), pl.Series(slow, dtype=pl.Int64))
        return micros
    if format in _ORDERS:
        return _from_parts(split_date(text), *_ORDERS[format])
    pattern = DIGITS.get(format, format)
    if format in DIGITS:
        text = text.set(~text.str.contains(r"^\d+$").fill_null(False), None)
    has_time, has_zone = (re.search(each, pattern) for each in (r"%-?[HIkTRXr]", r"%:?z"))
    # what a date needs to be one, and a time to be one
    more = [
        each
        for each, letters, needed in (
            ("01 %d", "djDFcxe", True),
            ("01 %m", "mbBhjDFcxv", True),
            ("00 %M", "MTRXrc", has_time),
        )
        if needed and not re.search(f"%-?[{letters}]", pattern)
    ]
    full = text + "".join(f" {each.split()[0]}" for each in more)
    pattern = " ".join([pattern, *(each.split()[1] for each in more)])
    if not has_time:
        return full.str.to_date(pattern, strict=False).cast(pl.Datetime("us")).to_physical()
    moments = full.str.to_datetime(pattern, strict=False, time_unit="us")
    if has_zone:
        moments = moments.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return moments.to_physical()


def _from_numbers(text: pl.Series, per_second: int) -> pl.Series:
    """Whole numbers stay exact; fractions are rounded to microseconds."""
    whole = text.cast(pl.Int64, strict=False)
    limit = 2**62 // MICRO
    if per_second <= MICRO:
        scale = MICRO // per_second
        whole = whole.set((whole.abs() > limit * per_second).fill_null(False), None) * scale
    else:
        whole = whole // (per_second // MICRO)
    if whole.null_count() == text.null_count():
        return whole
    number = text.cast(pl.Float64, strict=False)
    number = number.set(
        ~(number.is_finite() & (number.abs() < limit * per_second)).fill_null(False), None
    )
    exact = _from_decimals(text, per_second)
    micros = (number / per_second * MICRO).round().cast(pl.Int64, strict=False)
    return pl.select(pl.coalesce(whole, exact, micros)).to_series()


def _from_decimals(text: pl.Series, per_second: int) -> pl.Series:
    """Seconds with decimals, digit by digit: a float keeps no more than a tenth of a microsecond."""
    if per_second > 1:
        return pl.Series([None] * len(text), dtype=pl.Int64)
    parts = text.str.extract_groups(r"^(\d{1,11})\.(\d+)$").struct.unnest()
    seconds, fraction = (parts[name] for name in parts.columns)
    micros = fraction.str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64, strict=False)
    return seconds.cast(pl.Int64, strict=False) * MICRO + micros


def split_date(text: pl.Series) -> pl.DataFrame:
    """Return the parts of ``SPLIT``, strings, null in rows that it does not fit."""
    groups = text.str.extract_groups(SPLIT).struct.unnest()
    return groups.rename(dict(zip(groups.columns, _PARTS, strict=True)))


def _from_parts(parts: pl.DataFrame, year: str, month: str, day: str) -> pl.Series:
    number = {name: pl.col(name).cast(pl.Int32, strict=False) for name in _PARTS[:6]}
    afternoon = pl.col("half").str.to_lowercase().str.starts_with("p")
    hour = number["hour"].fill_null(0)
    hour = (
        pl.when(pl.col("half").is_null()).then(hour)
        .when((hour < 1) | (hour > 12)).then(None)
        .otherwise(hour % 12 + pl.when(afternoon).then(12).otherwise(0))
    )  # fmt: skip
    four = pl.col(year).str.len_chars() == 4
    valid = {"m": number[month].is_between(1, 12), "d": number[day].is_between(1, 31)}
    date = pl.concat_str(
        pl.col(year), pl.col(month).str.zfill(2), pl.col(day).str.zfill(2), separator="-"
    ).str.to_date("%Y-%m-%d", strict=False)
    minute, second = (number[name].fill_null(0) for name in ("minute", "seconds"))
    inside = (hour < 24) & (minute < 60) & (second < 60) & four & valid["m"] & valid["d"]
    micros = pl.col("fraction").fill_null("0").str.pad_end(6, "0").cast(pl.Int64)
    since = (hour.cast(pl.Int64) * 3600 + minute * 60 + second) * MICRO + micros
    moment = date.cast(pl.Datetime("us")).to_physical() + since
    return parts.select(pl.when(inside).then(moment)).to_series()
