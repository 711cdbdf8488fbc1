"""What was known of users and items as of a time: counts, decayed counts, age, histories. The only
implementation.

Everything here looks at events *strictly earlier* than the time asked about. Shapes: Q times, M
items, H history, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldlm.asof.grouped import Grouped, ranges
from coldlm.core.compiled import is_on
from coldlm.core.tables import DAY, Floats, Ints, Log

Planes = NDArray[np.float32]

FEATURES = ("fast", "medium", "slow", "count", "age", "is_new")
"""First axis of ``AsOf.features``: log1p of the decayed counts at three half-lives, of the count
and of the age in days (all divided by ``SCALE``), and 1 for an item without any event yet."""

SCALE = 4.0
"""Brings the logarithms to about unit size, so that the small network over them starts well
conditioned."""


NEVER = float(np.finfo(np.float64).min)
"""The logarithm of a decayed count of nothing, as a number that can be compared."""


def visible_before(when: Ints, delay: int) -> Ints:
    """Return the second before which events are visible at each second ``when``: strictly earlier,
    and the label's ``delay`` passed."""
    return when - max(delay - 1, 0)


@dataclass(frozen=True)
class _Walk:
    """First arguments of the functions in ``loops``, where they are explained."""

    times: Ints
    order: Ints
    state: NDArray[Any]
    event: Ints
    start: Ints
    last: Ints
    item: Ints
    masked_until: Ints
    out: NDArray[Any]

    @property
    def through(self) -> tuple[NDArray[np.generic], ...]:
        return tuple(vars(self).values())


class AsOf:
    """Counts, decays, ages and histories over the *positive* events of one log.

    Args:
        log: every event that may ever be looked at; a shorter log gives a memory that ends where
            the log ends.
        n_users, n_items: sizes of the code spaces.
        enters_at: [N] when each item became a candidate (``candidates.Catalogue.enters_at``); ages
            count from there.
        half_lives_days: three half-lives.
        masked_until: [N] before which counts, decayed counts and ages of an item are those of a new
            one, see ``candidates.Catalogue``; by default nothing is masked. ``n_user``, ``n_item``
            and histories never are.
    """

    def __init__(
        self,
        log: Log,
        n_users: int,
        n_items: int,
        enters_at: Ints,
        half_lives_days: tuple[float, float, float],
        masked_until: Ints | None = None,
    ) -> None:
        positive = log.rows(log.positive)
        self._time, self._item = positive.time, positive.item
        self.n_users, self.n_items = n_users, n_items
        self._enters_at = enters_at
        self._masked_until = (
            None
            if masked_until is None or np.array_equal(masked_until, enters_at)
            else masked_until
        )
        self._half_lives = [days * DAY for days in half_lives_days]
        self.by_user = Grouped(positive.user, positive.time, n_users)
        self._item_of_user: Ints = np.append(positive.item[self.by_user.row], -1)
        self.by_item = Grouped(positive.item, positive.time, n_items)
        number = np.empty(len(positive), np.int64)
        number[self.by_item.row] = (
            np.arange(len(positive)) - self.by_item.start[positive.item[self.by_item.row]] + 1
        )
        self._most: Ints = np.maximum.accumulate(np.append(0, number))
        self._decayed = _decayed_at_events(self.by_item, np.array(self._half_lives))
        self._lines: dict[int, Floats] = {}
        self._place = np.empty(len(positive), np.int64)  # of each event in ``by_item``
        self._place[self.by_item.row] = np.arange(len(positive))

    def n_user(self, users: Ints, times: Ints) -> Ints:
        """Positive events of each user, or of who asks, strictly before each time; the arguments
        broadcast."""
        users = users % self.n_users
        return self.by_user.before(users, times) - self.by_user.start[users]

    def n_item(self, items: Ints, times: Ints) -> Ints:
        """Positive events of each item strictly before each time; the arguments broadcast."""
        return self.by_item.before(items, times) - self.by_item.start[items]

    def n_events(self, times: Ints) -> Ints:
        """Return [Q] positive events of all items strictly before each time."""
        return np.searchsorted(self._time, times)

    def n_most(self, times: Ints) -> Ints:
        """Return [Q] positive events of the item that has most of them, strictly before each time;
        0 where there is none."""
        return self._most[self.n_events(times)]

    def history(self, users: Ints, times: Ints, length: int) -> Ints:
        """Return [Q, H] the last ``length`` items of each user, or of who asks, strictly before each
        time, newest first, -1 where none is left.

        At 20, only the event of time 10 is earlier:

        >>> import numpy as np
        >>> from coldlm.core.tables import sorted_log
        >>> one = np.ones(3)
        >>> log = sorted_log(np.array([0, 0, 0]), np.array([7, 8, 9]), np.array([10, 20, 20]), one, one > 0)
        >>> as_of = AsOf(log, 1, 10, np.zeros(10, np.int64), (1.0, 7.0, 30.0))
        >>> as_of.history(np.array([0, 0]), np.array([20, 21]), 2)
        array([[ 7, -1],
               [ 9,  8]])
        """
        users = users % self.n_users
        position = self.by_user.before(users, times)[:, None] - 1 - np.arange(length)[None, :]
        unknown = position < self.by_user.start[users][:, None]
        position[unknown] = -1  # the last place, where -1 stands
        items: Ints = self._item_of_user[position]
        return items

    def features(self, times: Ints, items: Ints) -> NDArray[np.float32]:
        """Return [F, Q, M] float32 context of every item as of every time, planes as in
        ``FEATURES``; any order of times."""
        moments, inverse = np.unique(times, return_inverse=True)
        out = np.empty((len(FEATURES), len(moments), len(items)), np.float32)
        if not len(moments):
            return out
        self._scale(*self._sweep(moments, items), moments[:, None], items, out)
        return out if np.array_equal(moments, times) else out[:, inverse]

    def own_features(self, times: Ints, items: Ints) -> NDArray[np.float32]:
        """Return [F, E] float32 context of each item as of its own time, [E] both: to the bit what
        ``features`` says of the item where that time alone is asked, at the cost of E pairs instead
        of all times by all items."""
        out = np.empty((len(FEATURES), len(times)), np.float32)
        state = self._state(times, items, (0, 1, 2))
        if self._masked_until is not None:
            state[:, times < self._masked_until[items]] = 0
        self._scale(state[0], list(state[1:]), times, items, out)
        return out

    def _scale(
        self,
        count: Planes,
        decayed: list[Planes],
        times: Ints,
        items: Ints,
        out: NDArray[np.float32],
    ) -> None:
        """Bring counts and decayed counts, [...], to what ``FEATURES`` says, into ``out``, [F,
        ...]; ``times`` and ``items`` broadcast to [...]."""
        # float32 log(1 + x) is several times faster than log1p, and exact enough for a network's
        # input
        for f, values in enumerate([*decayed, count]):
            np.add(values, np.float32(1), out=out[f])
        age = (times - self._enters_at[items]).astype(np.float32)
        np.maximum(age, 0, out=age)
        if self._masked_until is not None:
            age[times < self._masked_until[items]] = 0
        np.add(age / np.float32(DAY), np.float32(1), out=out[-2])
        np.log(out[:-1], out=out[:-1])
        out[:-1] /= np.float32(SCALE)
        out[-1] = count == 0

    def decayed_counts(self, times: Ints, half_life: int) -> Planes:
        """Return [Q, N] decayed counts of all items at ``half_life`` (0 fast, 1 medium, 2 slow) as
        of *ascending* times."""
        moments, inverse = np.unique(times, return_inverse=True)
        items = np.arange(self.n_items)
        return self._sweep(moments, items, (half_life,))[1][0][inverse]

    def log_decayed_counts(self, times: Ints, half_life: int) -> Floats:
        """Return [Q, N] float64 base-2 logarithms of ``decayed_counts``, apart at any age, as of
        times in any order; ``NEVER`` for an item without events.

        An item's decayed count at t is 2^-((t - t_k) / h) times what it was just after its last event
        k, so its logarithm falls along a line: no event that was too long ago for a floating-point
        number ties with one that never was.
        """
        if is_on() and len(times):
            return self._log_decayed(times, half_life)
        half, height = self._half_lives[half_life], self._heights(half_life)
        items = np.arange(self.n_items)
        moments, inverse = np.unique(times, return_inverse=True)
        out = np.full((len(moments), len(items)), np.nan)
        if not len(moments):
            return out
        first, last = (self.by_item.before(items, t) for t in moments[[0, -1]])
        seen = first > self.by_item.start[:-1]
        out[0] = -np.inf
        out[0, seen] = height[first[seen] - 1]
        position, column = ranges(first, last)
        row = np.searchsorted(moments, self.by_item.time[position], side="right")
        out[row, column] = height[position]  # of several events before a moment the last one stays
        for i in range(1, len(moments)):
            np.copyto(out[i], out[i - 1], where=np.isnan(out[i]))
        out -= (moments - self.by_item.origin)[:, None] / half
        if self._masked_until is not None:
            out[moments[:, None] < self._masked_until[items]] = -np.inf
        np.copyto(out, NEVER, where=np.isneginf(out))
        return out[inverse]

    def _heights(self, half_life: int) -> Floats:
        """[E] where the line of each event, in the order of ``by_item``, meets the origin of times."""
        if half_life not in self._lines:
            fallen = (self.by_item.time - self.by_item.origin) / self._half_lives[half_life]
            self._lines[half_life] = np.log2(self._decayed[half_life]) + fallen
        return self._lines[half_life]

    def _log_decayed(self, times: Ints, half_life: int) -> Floats:
        """``log_decayed_counts`` of some times in one pass."""
        from coldlm.asof import loops

        walk, height = self._walk(times, 0), self._heights(half_life)
        behind = self.by_item.before(np.arange(self.n_items), walk.times[0])
        state = np.full(len(behind), -np.inf)
        seen = behind > self.by_item.start[:-1]
        state[seen] = height[behind[seen] - 1]
        ages = (walk.times - self.by_item.origin) / self._half_lives[half_life]
        own = replace(walk, state=state, out=np.empty(walk.out.shape))
        loops.log_decayed(*own.through, height[self._place[walk.event]], ages, NEVER)
        return own.out

    def counts(self, times: Ints) -> Planes:
        """Return [Q, N] counts of all items as of each time."""
        if not len(times):
            return np.empty((0, self.n_items), np.float32)
        if is_on():
            from coldlm.asof import loops

            walk = self._walk(times, 0)
            loops.counts(*walk.through)
            return walk.out
        moments, inverse = np.unique(times, return_inverse=True)
        items = np.arange(self.n_items)
        return self._sweep(moments, items, ())[0][inverse]

    def add_network(
        self, out: Planes, times: Ints, inner: Planes, bias: Planes, outer: Planes, level: float
    ) -> None:
        """Add to ``out``, [Q, N] float32, the scores of a network of one hidden layer over ``features`` of
        all items, within rounding of what it makes of them; they are nowhere held.

        Args:
            times: [Q] in any order. inner: [U, F]; bias: [Q, U]; outer: [U]; level: added to all.
        """
        if not len(times):
            return
        from coldlm.asof import loops

        walk = replace(self._walk(times, len(self._half_lives)), out=out)
        loops.network(
            *walk.through,
            self._time,
            np.array(self._half_lives),
            self._enters_at,
            *(np.ascontiguousarray(part) for part in (inner, bias, outer)),
            np.float32(level),
            np.float32(1 / SCALE),
        )

    def _walk(self, times: Ints, n_decays: int) -> _Walk:
        """What a loop through ``times``, of which there are some, needs: the state at the first, and
        the events behind it."""
        from coldlm.asof import loops

        order, n_items = np.argsort(times, kind="stable"), self.n_items
        ascending = times[order]
        last = self.n_events(ascending)
        event = np.arange(last[0], last[-1])
        block = self._item[event] // loops.BLOCK
        by_block = np.argsort(block, kind="stable")
        blocks = np.arange(-(-n_items // loops.BLOCK) + 1)
        state = np.empty((1 + n_decays, n_items), np.float32)
        decays = self._decayed[:n_decays], np.array(self._half_lives[:n_decays], np.float64)
        loops.begin(ascending[0], self.by_item.start, self.by_item.time, *decays, state)
        return _Walk(
            ascending,
            order,
            state,
            event[by_block],
            np.searchsorted(block[by_block], blocks),
            last,
            self._item,
            np.full(n_items, np.iinfo(np.int64).min)
            if self._masked_until is None
            else self._masked_until,
            np.empty((len(times), n_items), np.float32),
        )

    def _sweep(
        self, moments: Ints, items: Ints, half_lives: tuple[int, ...] = (0, 1, 2)
    ) -> tuple[Planes, list[Planes]]:
        """float32 [Q, M] counts (exact below 2^24) and decayed counts of ``items`` at ascending
        distinct ``moments``.

        The state at the first moment, then one pass over the events in between.
        """
        n_planes, n_items = len(half_lives) + 1, len(items)
        first, last = (
            self.by_item.before(items, moments[0]),
            self.by_item.before(items, moments[-1]),
        )
        position, column = ranges(first, last)
        time = self.by_item.time[position]
        row = np.searchsorted(moments, time, side="right")
        # plane 0 counts: nothing fades in it
        state = np.zeros((len(moments), n_planes, n_items), np.float32)
        steps = np.ones((len(moments), n_planes, 1), np.float32)
        cell = row * n_planes * n_items + column
        np.add.at(state.reshape(-1), cell, np.float32(1))
        for plane, h in enumerate(half_lives, 1):
            half_life = self._half_lives[h]
            weight = np.exp2(-(moments[row] - time) / half_life).astype(np.float32)
            np.add.at(state.reshape(-1), cell + plane * n_items, weight)
            steps[1:, plane, 0] = np.exp2(-np.diff(moments) / half_life)
        state[0] = self._state(np.broadcast_to(moments[0], items.shape), items, half_lives)
        faded = np.empty_like(state[0])
        for i in range(1, len(moments)):
            np.multiply(state[i - 1], steps[i], out=faded)
            state[i] += faded
        if self._masked_until is not None:
            masked = moments[:, None] < self._masked_until[items]
            np.copyto(state, 0, where=masked[:, None])
        return state[:, 0], [state[:, plane] for plane in range(1, n_planes)]

    def _state(self, times: Ints, items: Ints, half_lives: tuple[int, ...]) -> Planes:
        """float32 [1 + half-lives, E] the count and the decayed counts of each item as of its own
        time, unmasked."""
        behind = self.by_item.before(items, times)
        state = np.zeros((1 + len(half_lives), len(items)), np.float32)
        state[0] = behind - self.by_item.start[items]
        seen = state[0] > 0
        previous = behind[seen] - 1
        gap = times[seen] - self.by_item.time[previous]
        for plane, h in enumerate(half_lives, 1):
            state[plane, seen] = self._decayed[h][previous] * np.exp2(-gap / self._half_lives[h])
        # numbers below the smallest normal one are tens of times slower to add
        state[state < np.finfo(np.float32).tiny] = 0
        return state


def _decayed_at_events(grouped: Grouped, half_lives: Floats) -> Floats:
    """[L, E] decayed count of an event's group just after it: d_k = 1 + d_(k-1) * 2^(-(t_k -
    t_(k-1)) / half-life).

    The loop runs over ranks inside a group (at most the largest group's size), all groups at once.
    """
    decayed = np.ones((len(half_lives), len(grouped.time)))
    sizes = np.diff(grouped.start)
    order = np.argsort(-sizes, kind="stable")
    starts, sizes = grouped.start[:-1][order], sizes[order]
    n_larger = np.searchsorted(-sizes, -np.arange(int(sizes[0]) if len(sizes) else 0), side="left")
    for rank in range(1, len(n_larger)):
        at = starts[: n_larger[rank]] + rank
        gap = grouped.time[at] - grouped.time[at - 1]
        decayed[:, at] += decayed[:, at - 1] * np.exp2(-gap / half_lives[:, None])
    return decayed


@dataclass(frozen=True)
class Moments:
    """The features of all items as of each of some times, not yet computed: what a context network may be
    given in their place."""

    as_of: AsOf
    times: Ints
