from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from coldlm.core.errors import DataError
from coldlm.core.tables import UNKNOWN
from coldlm.data.files.times import seconds

AT = 1_262_304_000  # 2010-01-01T00:00:00Z


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([AT]),
        pl.Series([AT], dtype=pl.UInt32),
        pl.Series([str(AT)]),
        pl.Series(["2010-01-01"]),
        pl.Series(["2010-01-01T00:00:00Z"]),
        pl.Series(["2010-01-01 08:00:00+08:00"]),
        pl.Series([date(2010, 1, 1)]),
        pl.Series([datetime(2010, 1, 1)]),
        pl.Series([datetime(2010, 1, 1, tzinfo=UTC)]),
        pl.Series([datetime(2010, 1, 1)]).cast(pl.Datetime("ms")),
    ],
)
def test_every_spelling_of_one_moment_is_the_same_second(column: pl.Series) -> None:
    time, cut = seconds(column, "t")
    assert (time.tolist(), time.dtype, cut) == ([AT], "int64", 0)


def test_fractions_of_a_second_are_cut_and_counted() -> None:
    time, cut = seconds(pl.Series(["2010-01-01T00:00:00.999", "2010-01-01T00:00:01"]), "t")
    assert (time.tolist(), cut) == ([AT, AT + 1], 1)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series([AT, None]), "missing in data row 2"),
        (pl.Series(["1", ""]), "'' in data row 2 is not a time"),
        (pl.Series([AT, -1]), "before 1970 in data row 2"),
        (pl.Series(["1969-12-31"]), "before 1970 in data row 1"),
        (pl.Series(["5", "soon", "6"]), "'soon' in data row 2 is not a time"),
        (pl.Series(["2010-01-01", "2010-13-01"]), "'2010-13-01' in data row 2 is not a time"),
        (pl.Series(["1", "2010-01-01"]), "'2010-01-01' in data row 2 is not a time"),
        (pl.Series(["12.5"]), "'12.5' in data row 1 is not a time"),
        (
            pl.Series([AT, AT * 1000]),
            "1262304000000 in data row 2 looks like milliseconds; divide by 1,000",
        ),
        (pl.Series([str(AT * 1000)]), "looks like milliseconds"),
        (pl.Series([2**63], dtype=pl.UInt64), "looks like milliseconds"),
        (pl.Series([1.5]), "values of type Float64"),
    ],
)
def test_unreadable_times_are_refused_with_the_first_row(column: pl.Series, message: str) -> None:
    with pytest.raises(DataError, match=f"f.csv, column 't': .*{message}"):
        seconds(column, "f.csv, column 't'")


def test_release_times_may_be_missing_or_before_1970() -> None:
    time, _ = seconds(pl.Series(["1969-12-31T23:59:59Z", None]), "t", optional=True)
    assert time.tolist() == [-1, UNKNOWN]
    time, _ = seconds(pl.Series([-5, None]), "t", optional=True)
    assert time.tolist() == [-5, UNKNOWN]
    time, _ = seconds(pl.Series([None, None], dtype=pl.String), "t", optional=True)
    assert time.tolist() == [UNKNOWN, UNKNOWN]
