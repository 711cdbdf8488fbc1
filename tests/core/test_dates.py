from __future__ import annotations

import doctest

import numpy as np
import pytest

import coldlm.core.dates
from coldlm.core.dates import iso, seconds


@pytest.mark.parametrize(
    ("date", "at"),
    [
        ("1970-01-02", 86_400),
        ("1970-01-01T00:00:07", 7),
        ("1970-01-01 00:00:07Z", 7),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31", -86_400),
    ],
)
def test_dates_without_a_zone_are_utc(date: str, at: int) -> None:
    assert seconds(date) == at


@pytest.mark.parametrize("date", ["", "now", "2016", "31.1.2016", "2016-02-30"])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        seconds(date)


@pytest.mark.parametrize("time", [0, 86_399, -1, np.int64(1_573_257_673), 253_402_300_800])
def test_a_time_that_was_written_reads_as_itself(time: int) -> None:
    written = iso(time)
    if (
        time < 253_402_300_800
    ):  # the year 10000 can be written, but ``seconds`` reads what people write
        assert seconds(written) == time
    assert np.datetime64(written, "s").astype(int) == time


def test_examples() -> None:
    found = doctest.testmod(coldlm.core.dates)
    assert (found.failed, found.attempted) == (0, 2)
