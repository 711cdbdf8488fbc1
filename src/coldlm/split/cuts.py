"""Which part of the log each event belongs to: who learns from what, and when.

Under every split, histories and counts hold all events strictly earlier than the query, whichever
part they lie in. Every event is in one part, a (user, time) block stays whole, and events without a
time of their own (those before ``Dataset.log_starts_at``) train, since nobody can say what came
before them.

``time``, the honest one here, cuts everybody at the same two moments. Hyper-parameters and stopping
look at validation only; then the model is refitted on train + validation.

```
time ->      t_val        t_test     edge 1     edge 2           end
   | train    | validation | window 0 | window 1 | ... stream     |
     weights    stopping     test, then (online) train, window by window
```

``loo`` and ``random``, and two of ``at_once``, are **LEAKY**: weights have learned from events later than those they
are asked for. They exist to reproduce old papers, allow no updates, and say LEAKY on every row of a
table.

```
loo       user 0   t  t  t  t  v  S            the last positive block of each user is asked for (S), the one before
          user 1         t  v        S         stops the training (v), everything else trains (t), also user 0's
          user 2                        S      events that are later than another user's S

random    user 0   t  S  t  t  t  v            whole blocks are drawn, whenever they happened
          user 1         t  t        S
```
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from coldlm.core.columns import Count, Range
from coldlm.core.dates import iso, seconds
from coldlm.core.errors import DataError
from coldlm.core.seeding import generator
from coldlm.core.tables import (
    AFTERWARDS,
    ALWAYS,
    DAY,
    HELD_OUT,
    STREAM,
    TRAIN,
    VALIDATION,
    Ints,
    Log,
    Parts,
    Split,
)
from coldlm.split.simulated_cold import draw

PartShare = Annotated[float, Range(0, 1, above=True)]


def time(
    log: Log,
    starts_at: int = ALWAYS,
    *,
    train: PartShare | None = 0.7,
    validation: PartShare | None = 0.1,
    t_val: str | None = None,
    t_test: str | None = None,
    windows: Count | None = 5,
    window_days: Annotated[float, Range(0.01)] | None = None,
    edges: list[str] | None = None,
    simulated_cold: Annotated[float, Range(0, 0.99)] = 0.0,
    simulated_seed: Annotated[int, Range(0)] = 0,
    origins: Count = 1,
    origin: Count = 1,
) -> Split:
    """Return two global cuts of time, at shares of the events or at dates; the rest is the stream,
    cut into windows.

    Args:
        starts_at: ``Dataset.log_starts_at``; shares count the events from here on.
        train, validation: shares; the cut moves down to the next boundary between two times, so no
            block is torn.
        t_val, t_test: ISO dates or times (UTC) to cut at, instead of the shares.
        windows: how many, of about equally many events.
        window_days: length of a window, instead of a number.
        edges: ISO dates or times between the windows, instead of a number.
        simulated_cold: SIMULATED, share of the items taken before T_test whose earlier events are
            held out; see ``split/simulated_cold.py``.
        simulated_seed: of the draw; not the run's, so that several seeds of a model answer the same
            queries.
        origins: pieces, of about equally many events, that the stream is cut into; ``origin`` (from 1)
            is the one that is the stream, all before it is the past, validation as many events as before,
            and what lies behind it never happened (rolling origins: Tashman 2000, "Out-of-sample tests
            of forecasting accuracy").

    A window by length or date that holds no event is merged into the next, and counted.

    Raises:
        DataError: a part would be empty, the stream has fewer distinct times than windows, an edge
            lies outside it, or a cut lies before ``starts_at``.

    >>> from coldlm.core.tables import sorted_log
    >>> one = np.ones(10)
    >>> log = sorted_log(np.arange(10), np.arange(10), np.arange(10) * DAY, one, one > 0)
    >>> split = time(log, train=0.5, validation=0.2, windows=3)
    >>> split.part.tolist(), (split.edges // DAY).tolist()
    ([0, 0, 0, 0, 0, 1, 1, 2, 2, 2], [7, 8, 9, 9])
    >>> split = time(log, t_val="1970-01-03", t_test="1970-01-05", window_days=2.5)
    >>> split.part.tolist(), (split.edges / DAY).round(1).tolist()
    ([0, 0, 1, 1, 2, 2, 2, 2, 2, 2], [4.0, 6.5, 9.0, 9.0])
    >>> [time(log, train=0.5, validation=0.1, windows=1, origins=2, origin=o).part.tolist() for o in (1, 2)]
    [[0, 0, 0, 0, 0, 1, 2, 2, 4, 4], [0, 0, 0, 0, 0, 0, 0, 1, 2, 2]]
    """
    if t_val is not None and t_test is not None:
        cuts = _at_dates(starts_at, t_val, t_test)
        how = f"split.t_val={t_val} and split.t_test={t_test}"
    else:
        assert train  # coldlm.config.combinations asks for shares or dates before any data is read
        assert validation
        cuts = _at_shares(log, starts_at, train, train + validation)
        how = f"split.train={train} and split.train + split.validation={train + validation:g}"
    cuts, end = _at_origin(log, cuts, origins, origin)
    part = (log.time >= cuts[0]).astype(np.int8) + (log.time >= cuts[1])
    part[log.time >= end] = AFTERWARDS
    _refuse_empty("time", part, f"the log needs distinct times on both sides of {how}")
    stream = log.time[part == STREAM]
    ends = _ends(stream, cuts[1], windows, window_days, edges)
    part[draw(log, cuts[1], simulated_cold, simulated_seed)] = HELD_OUT
    _refuse_empty("time", part, f"hold out fewer items than split.simulated_cold={simulated_cold}")
    filled = np.diff(np.searchsorted(stream, ends), prepend=0) > 0
    merged = int((~filled).sum())
    return Split("time", *cuts, part, np.append(cuts[1], ends[filled]), merged)


def loo(log: Log, starts_at: int = ALWAYS) -> Split:
    """LEAKY, leave one out: a user's last positive block is asked for, the one before is
    validation, all else trains.

    A user with one positive block is asked for it, as a cold user; old papers drop such users.

    Raises:
        DataError: a part would be empty.

    User 1's event of day 5 stops the training, and user 0 is asked for day 3:

    >>> from coldlm.core.tables import sorted_log
    >>> one = np.ones(7)
    >>> user, day = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([1, 2, 3, 3, 2, 5, 6])
    >>> log = sorted_log(user, np.arange(7), day * DAY, one, one > 0)
    >>> split = loo(log)
    >>> [(int(u), int(t)) for u, t in zip(log.user, log.time // DAY)]
    [(0, 1), (0, 2), (1, 2), (0, 3), (0, 3), (1, 5), (1, 6)]
    >>> split.part.tolist()
    [0, 1, 0, 2, 2, 1, 2]
    """
    can_be_asked = log.positive & (log.time >= starts_at)
    part = np.zeros(len(log), np.int8)
    limit = np.full(log.user.max() + 1, log.time[-1] + 1)
    for which in (STREAM, VALIDATION):
        rows = np.flatnonzero(can_be_asked & (log.time < limit[log.user]))
        limit = np.full(len(limit), ALWAYS)
        np.maximum.at(limit, log.user[rows], log.time[rows])
        part[log.time == limit[log.user]] = which
    return leaky("loo", log, part)


def random(
    log: Log,
    starts_at: int = ALWAYS,
    *,
    train: PartShare = 0.7,
    validation: PartShare = 0.1,
    seed: Annotated[int, Range(0)] = 0,
) -> Split:
    """LEAKY: blocks are drawn at random until the shares of the events are reached; the rest is
    asked for.

    Args:
        starts_at: ``Dataset.log_starts_at``; shares count the events from here on.
        seed: of the draw; not the run's, so that several seeds of a model answer the same queries.

    Raises:
        DataError: a part would be empty.

    >>> from coldlm.core.tables import sorted_log
    >>> one = np.ones(10)
    >>> log = sorted_log(np.arange(10) % 2, np.arange(10), np.arange(10) * DAY, one, one > 0)
    >>> random(log, train=0.5, validation=0.2).part.tolist()
    [0, 0, 1, 0, 0, 2, 2, 0, 1, 2]
    """
    rows = np.flatnonzero(log.time >= starts_at)
    key = log.user[rows] * (log.time[-1] - log.time[0] + 1) + log.time[rows] - log.time[0]
    blocks, block = np.unique(key, return_inverse=True)
    place = generator(seed, "random split").permutation(len(blocks))[block]
    size = np.bincount(place)
    drawn_before = (np.cumsum(size) - size)[place]
    part = np.zeros(len(log), np.int8)
    for share in (train, train + validation):
        part[rows] += drawn_before >= round(len(rows) * share, 6)
    return leaky("random", log, part)


def leaky(name: str, log: Log, part: Parts) -> Split:
    """Return one window over the whole stream; ``t_val`` and ``t_test`` are when training ends, which
    is later."""
    _refuse_empty(name, part, "use split=time, or data with more events")
    t_val, t_test = (int(log.time[part <= last].max()) + 1 for last in (TRAIN, VALIDATION))
    stream = log.time[part == STREAM]
    return Split(name, t_val, t_test, part, np.array([stream[0], stream[-1] + 1]), leaky=True)


def _at_origin(
    log: Log, cuts: tuple[int, int], origins: int, origin: int
) -> tuple[tuple[int, int], int]:
    """(T_val, T_test) and the first second behind the stream, of one origin."""
    t_val, t_test = cuts
    last = int(log.time[-1]) + 1
    if origins == 1:
        return cuts, last
    first = np.searchsorted(log.time, t_test)
    begins = [t_test, *_by_number(log.time[first:], origins, "origins").tolist(), last]
    begin, end = begins[origin - 1 : origin + 1]
    held = first - np.searchsorted(log.time, t_val)
    return (int(log.time[np.searchsorted(log.time, begin) - held]), begin), end


def _at_dates(starts_at: int, t_val: str, t_test: str) -> tuple[int, int]:
    cuts = seconds(t_val), seconds(t_test)
    for key, text, cut in (("t_val", t_val, cuts[0]), ("t_test", t_test, cuts[1])):
        if cut < starts_at:
            start = iso(starts_at)
            raise DataError(
                f"split.{key}={text}: events before {start} have no time of their own in this "
                f"data, so nothing can be cut there; set {start} or later"
            )
    return cuts


def _at_shares(log: Log, starts_at: int, *shares: float) -> tuple[int, int]:
    """The times of the events at these shares of the events that have a time of their own."""
    first = int(np.searchsorted(log.time, starts_at))
    n = len(log) - first
    # rounded first, since .7 + .1 is a little less than .8
    t_val, t_test = (
        int(log.time[min(first + int(round(n * share, 6)), len(log) - 1)]) for share in shares
    )
    return t_val, t_test


def _ends(
    stream: Ints,
    t_test: int,
    windows: int | None,
    window_days: float | None,
    edges: list[str] | None,
) -> Ints:
    """The first second behind each window, those without an event included."""
    if window_days is not None:
        inner = _by_length(stream, t_test, window_days)
    elif edges is not None:
        inner = _by_date(stream, t_test, edges)
    else:
        assert windows
        inner = _by_number(stream, windows)
    return np.append(inner, stream[-1] + 1).astype(np.int64)


def _by_number(stream: Ints, windows: int, key: str = "windows") -> Ints:
    """[windows - 1] times at which the second and later windows begin."""
    distinct, window = np.unique(stream), np.arange(windows)
    if len(distinct) < windows:
        raise DataError(
            f"the stream's {len(stream)} events at {len(distinct)} distinct times cannot be cut "
            f"into split.{key}={windows} non-empty {key}; use fewer"
        )
    wanted = np.searchsorted(distinct, stream[(window * len(stream)) // windows])
    # a block larger than a window pushes the next start to the time behind it; the last windows
    # keep a time each
    begin = np.minimum(
        np.maximum.accumulate(wanted - window) + window, len(distinct) - windows + window
    )
    return distinct[begin[1:]]


def _by_length(stream: Ints, t_test: int, days: float) -> Ints:
    length = round(days * DAY)
    return np.arange(t_test + length, stream[-1] + 1, length)


def _by_date(stream: Ints, t_test: int, dates: list[str]) -> Ints:
    inner = [seconds(date) for date in dates]
    outside = [
        date for date, edge in zip(dates, inner, strict=True) if not t_test < edge <= stream[-1]
    ]
    if outside:
        first, last = iso(t_test), iso(stream[-1])
        raise DataError(
            f"split.edges: {', '.join(outside)} does not lie inside the stream; allowed: later "
            f"than T_test ({first}), not later than the last event ({last})"
        )
    return np.array(inner, np.int64)


def _refuse_empty(name: str, part: Parts, advice: str) -> None:
    train, validation, stream = np.bincount(part, minlength=3)[:3]
    if not (train and validation and stream):
        raise DataError(
            f"the {name} split leaves an empty part: {train} train, {validation} validation and "
            f"{stream} stream events of {len(part)}; {advice}"
        )
