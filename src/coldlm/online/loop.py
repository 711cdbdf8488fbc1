"""Test, then train: every second of the stream is scored by one immutable version of the model
before anything that happened in it is learned.

```
for each second t of the stream at which anything happens (a tie block):
    an update that is due goes live
    unless one is on its way: ask the trigger, which sees what is visible (earlier than t, label delay passed)
        it fires: choose data -> update the model -> gate -> live from t + latency on, or rolled back
    the queries of t are scored by the live version
```

Scores are pure functions of (version, time), so they need not be computed second by second: queries
wait until the version changes, or until a trigger wants their losses, and are scored many at a
time. Chunks of queries are laid out as if the version never changed, so that an update that changes
nothing changes no bit of any score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Generic, TypeVar

import numpy as np
import polars as pl

from coldlm.asof.context import visible_before
from coldlm.core.errors import ScoreError
from coldlm.core.tables import Floats, Ints, Log, Queries
from coldlm.evaluate.judge import Judged, ScoreFunction, chunks
from coldlm.online.moment import Moment
from coldlm.online.triggers import Trigger

S = TypeVar("S", bound=ScoreFunction)


@dataclass(frozen=True)
class Update:
    """One update, a row of ``updates.parquet``. ``number``: from 1. ``version``: that is live once
    it is through, the one before where it was ``rolled_back``, which ``why`` explains. ``window``:
    of the stream that it ended. ``trigger``, ``reason``: why it was started at ``time`` (seconds),
    when ``visible`` events of the log were. ``n_events``: that it learned from, ``n_replayed`` of
    them once more, none later than ``newest`` (seconds). ``seconds``: ``train_seconds`` and
    ``encode_seconds`` (new texts, and vectors anew) and the gate's. ``latency``: seconds from ``time`` to
    ``live_at``. ``peak_memory_mb``: of the process so far. ``bytes``: of the parameters that it may
    move, all of which it ships, 0 where there is nothing to ship. ``loss_before``, ``loss_after``:
    mean loss of one batch of what it learned from; ``probe_before``, ``probe_after``: nDCG on the
    fixed probe; NaN where there is none.
    """

    number: int
    version: int
    window: int
    trigger: str
    reason: str
    time: int
    visible: int
    n_events: int
    n_replayed: int
    newest: int
    seconds: float
    train_seconds: float
    encode_seconds: float
    latency: float
    live_at: float
    peak_memory_mb: float
    bytes: int
    loss_before: float
    loss_after: float
    probe_before: float
    probe_after: float
    rolled_back: bool
    why: str

    def row(self) -> dict[str, float | int | bool | str]:
        """Return it for ``updates.parquet``."""
        return asdict(self)


SCHEMA = {
    field.name: {"int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "str": pl.String}[
        str(field.type)
    ]
    for field in fields(Update)
}
"""Columns of ``updates.parquet``."""


@dataclass(frozen=True)
class Clock:
    """The seconds of the stream, which begins at ``start``, at which anything happens, and what is
    visible at each, [B] all. ``time``; ``window``; ``visible``: rows of the log; ``met``: distinct items among them;
    ``query``: the first query not earlier than it; ``known``: the first query whose positives are
    not visible yet."""

    start: int
    time: Ints
    window: Ints
    visible: Ints
    met: Ints
    query: Ints
    known: Ints

    @staticmethod
    def of(log: Log, queries: Queries, edges: Ints, delay: int) -> Clock:
        """Return the clock of the stream between the outer ``edges``, where a label is visible
        ``delay`` seconds after its event."""
        when = np.unique(log.time[slice(*np.searchsorted(log.time, edges[[0, -1]]))])
        before = visible_before(when, delay)
        visible = np.searchsorted(log.time, before)
        is_first = np.zeros(len(log), bool)
        is_first[np.unique(log.item, return_index=True)[1]] = True
        met = np.r_[0, np.cumsum(is_first)][visible]
        return Clock(
            int(edges[0]),
            when,
            np.searchsorted(edges, when, side="right") - 1,
            visible,
            met,
            np.searchsorted(queries.time, when),
            np.searchsorted(queries.time, before),
        )


@dataclass(frozen=True)
class Live(Generic[S]):
    """A version that scores, and since when."""

    version: int
    scorer: S
    since: float
    latency: float = 0.0


@dataclass
class Scored:
    """What the stream has come to. ``judged``: a row per positive, those before query ``done`` are
    there. ``version``, ``since``, ``latency``: [P] of the version that scored each, since when it
    was live and the seconds that it took to be."""

    judged: Judged
    version: Ints
    since: Floats
    latency: Floats
    done: int = 0

    @staticmethod
    def nothing(n: int) -> Scored:
        """Return the beginning, for ``n`` positives."""
        version, since, latency = np.zeros(n, np.int64), np.zeros(n), np.zeros(n)
        return Scored(Judged.nothing(n), version, since, latency)

    def put(self, rows: slice, judged: Judged, live: Live[S]) -> None:
        """Note what ``live`` made of these rows."""
        for field in fields(Judged):
            getattr(self.judged, field.name)[rows] = getattr(judged, field.name)
        self.version[rows], self.since[rows] = live.version, live.since
        self.latency[rows] = live.latency

    def losses(self, rows: slice) -> Floats:
        """Return the prequential loss of these rows: the share of the other candidates that were
        ranked above the positive, ties counted half; .5 by chance, 0 at best."""
        j = self.judged
        others = np.maximum(j.candidates[rows] - 1, 1)
        loss: Floats = (j.g[rows] + (j.e[rows] - 1) / 2) / others
        return loss


@dataclass(frozen=True)
class Made(Generic[S]):
    """What an update came to: the scorer of the new weights, None where it was rolled back, and its
    row."""

    scorer: S | None
    update: Update


class Stream(Generic[S]):
    """One pass over the stream.

    Args:
        n_items: size of the catalogue.
        first: version 0, live at T_test.
        judge: (scorer, first, last, from) -> the rows of the queries from ``from`` to ``last``,
            laid out as in the chunk that begins with ``first``.
        update: (moment, reason, version that will be live) -> what it came to.
        at_window: is told of every window that is over: its number, and the version live at its
            end.
        at_rest: is told when no update is on its way and everything earlier has been scored: the
            moment to save.
        replayed: updates that happened before an interruption, in order, and what was scored by
            then: they are taken as they were.
    """

    def __init__(
        self,
        clock: Clock,
        queries: Queries,
        trigger: Trigger,
        *,
        n_items: int,
        first: S,
        judge: Callable[[S, int, int, int], Judged],
        update: Callable[[Moment, str, int], Made[S]],
        at_window: Callable[[int, Live[S]], None] = lambda window, live: None,
        at_rest: Callable[[Stream[S]], None] = lambda stream: None,
        replayed: Sequence[Update] = (),
        scored: Scored | None = None,
    ) -> None:
        self._clock, self._queries, self._trigger = clock, queries, trigger
        self._judge, self._update, self._replayed = judge, update, list(replayed)
        self._at_window, self._at_rest = at_window, at_rest
        self.scored = scored or Scored.nothing(len(queries.event))
        self._kept = self.scored.done  # scored before an interruption
        self.scored.done = 0
        self.updates: list[Update] = []
        self.live: Live[S] = Live(0, first, float(clock.start))
        self._coming: Live[S] | None = None
        self._asked, self._ahead = 0, 0
        self._grid = _chunks(queries, n_items)

    def run(self) -> None:
        """Score every query, and update whenever the trigger says so."""
        clock, window = self._clock, 0
        if not len(clock.time):
            return
        columns = (c.tolist() for c in (clock.time, clock.window, clock.visible, clock.met))
        begin = int(clock.visible[0]), int(clock.met[0])
        now = Moment(clock.start, 0, *begin, self._losses, clock.start, 0, *begin)
        for block, (now.time, now.window, now.visible, now.met) in enumerate(
            zip(*columns, strict=True)
        ):
            self._block = block
            if now.window > window:
                self._finish_window(window)
                window = now.window
            self._go_live(now.time)
            if self._coming is None and (reason := self._trigger.ask(now)):
                self._start(now, reason)
                self._go_live(now.time)
            if self._coming is None:
                self._at_rest(self)
        self._score_until(len(self._queries))
        self._at_window(window, self.live)

    def settle(self) -> None:
        """Score everything that has come."""
        self._score_until(self.position)

    @property
    def position(self) -> int:
        """Return the first query that has not come yet."""
        return int(self._clock.query[self._block])

    def _finish_window(self, window: int) -> None:
        self.settle()
        self._at_window(window, self.live)

    def _start(self, now: Moment, reason: str) -> None:
        number = len(self.updates) + 1
        if number <= len(self._replayed):
            update, scorer = self._replayed[number - 1], self.live.scorer
            now.note_update(update.seconds)
        else:
            self.settle()
            made = self._update(now, reason, self.live.version + 1)
            update = made.update
            now.note_update(update.seconds)
            scorer = made.scorer if made.scorer is not None else self.live.scorer
        self.updates.append(update)
        if not update.rolled_back:
            self._coming = Live(update.version, scorer, update.live_at, update.latency)

    def _go_live(self, time: int) -> None:
        """Let an update that is due score from here on."""
        if self._coming is not None and self._coming.since <= time:
            self.settle()
            # what was scored ahead is scored again by the version that is live now
            self.scored.done = min(self.scored.done, self.position)
            self.live, self._coming = self._coming, None

    def _losses(self) -> Floats:
        """The losses that have become visible since they were asked for."""
        known = int(self._clock.known[self._block])
        if known > self.scored.done:
            # a whole chunk at once: what is behind this second is not looked at, and scored again
            # should the version change before it
            self._score_until(_end_of(self._grid, known))
        rows = slice(int(self._queries.start[self._asked]), int(self._queries.start[known]))
        self._asked = known
        return self.scored.losses(rows)

    def _score_until(self, last: int) -> None:
        """Score the queries before ``last`` that were not yet."""
        done = max(self.scored.done, min(self._kept, last))
        if last > done:
            first = int(self._grid[np.searchsorted(self._grid, done, side="right") - 1])
            rows = slice(int(self._queries.start[done]), int(self._queries.start[last]))
            try:
                judged = self._judge(self.live.scorer, first, last, done)
            except ScoreError as error:
                raise ScoreError(f"model version {self.live.version}: {error}") from None
            self.scored.put(rows, judged, self.live)
        self.scored.done = max(done, last)


def _chunks(queries: Queries, n_items: int) -> Ints:
    """[C + 1] the first query of each chunk of ``evaluate.judge``, and the end of the last."""
    return np.array([*(first for first, _ in chunks(queries, n_items)), len(queries)], np.int64)


def _end_of(grid: Ints, query: int) -> int:
    """The end of the chunk that the last query before ``query`` lies in."""
    return int(grid[np.searchsorted(grid, query)])
