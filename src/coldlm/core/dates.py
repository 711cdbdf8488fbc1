"""Points in time between people, who write dates, and logs, which hold Unix seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import SupportsInt

import numpy as np


def seconds(date: str) -> int:
    """Return Unix seconds of an ISO date or time; UTC where it names no zone.

    Raises:
        ValueError: it is none.

    >>> seconds("1970-01-02"), seconds("1970-01-01T01:00:00+01:00")
    (86400, 0)
    """
    moment = datetime.fromisoformat(date)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def iso(time: SupportsInt) -> str:
    """Return the ISO time, in UTC, of Unix seconds; any of them, where ``datetime`` ends with the
    year 9999.

    >>> iso(86_400)
    '1970-01-02T00:00:00'
    """
    return str(np.datetime64(int(time), "s"))
