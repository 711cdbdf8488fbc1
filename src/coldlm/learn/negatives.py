"""Which items stand against the events of an epoch, and for how much. Shapes: B events, M columns,
N items, L lists."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.asof.grouped import Grouped, ranges
from coldlm.core.errors import DataError
from coldlm.core.tables import Bools, Dataset, Floats, Impressions, Ints, Log


class SamplingSpec(Protocol):
    """What the sampler needs to know of a loss (``models.losses`` has five, and says what the words
    mean)."""

    negatives: str
    draws: int | None
    in_batch: bool
    corrected: bool
    explicit_negatives: bool
    ips: float | None


class Negatives:
    """The negatives of the events ``rows`` of the log, [E] ascending int64, as a loss wants them.

    Raises:
        DataError: shown lists are wanted and the data holds none.
    """

    def __init__(
        self, data: Dataset, catalogue: Catalogue, as_of: AsOf, rows: Ints, wants: SamplingSpec
    ) -> None:
        self._data, self._catalogue, self._as_of, self._wants = data, catalogue, as_of, wants
        log, self.rows = (
            data.log,
            rows if wants.explicit_negatives else rows[data.log.positive[rows]],
        )
        self._lists: Impressions | None = None
        if wants.negatives == "given":
            if data.impressions is None:
                raise DataError(
                    f"loss.negatives=given: {data.name} holds no lists as shown; use "
                    "negatives=uniform"
                )
            self._lists = data.impressions
            self._list: Ints = np.full(len(log), -1)
            self._list[self.rows] = _list_of(data.impressions, log, self.rows, len(data.items))
            # an event outside the lists has nothing to be told from
            self.rows = self.rows[self._list[self.rows] >= 0]
        self._positives: Ints = self.rows[log.positive[self.rows]]
        self._pool = _enter_within(catalogue, log.time[self.rows])
        self._item_count: Floats = np.bincount(
            log.item[self._positives], minlength=len(data.items)
        ).astype(np.float64)
        self._by_user = Grouped(
            log.user[self._positives], log.time[self._positives], len(data.users)
        )
        self._proposal = self._mean_popularity() if wants.negatives == "popularity" else None

    def draw(self, rows: Ints, rng: np.random.Generator) -> Ints:
        """Return the items to look at beside those of the batch's own events ``rows``; repeats are
        draws that fell twice."""
        if self._lists is not None:
            return self._shown(rows)[1]
        if self._wants.draws is None:
            return self._pool
        if self._proposal is not None:
            return rng.choice(len(self._proposal), self._wants.draws, p=self._proposal)
        return rng.choice(self._pool, self._wants.draws)

    def log_weight(
        self, rows: Ints, mine: Ints, columns: Ints, draws: Ints, rate: float
    ) -> NDArray[np.float32]:
        """Return [mine, M] float32 log w_ij; -inf where column j may not be a negative of event i
        or was not drawn for it.

        An event of the batch is a draw for the events of *other* users only: a user's events travel
        together, so their presence says nothing about how often they are drawn in general.

        Args:
            rows: events of the whole batch; mine: places of this rank's events in it.
            draws: what ``draw`` gave.
            rate: probability of any event of another user to be in the batch.
        """
        log, wants = self._data.log, self._wants
        users, times = log.user[rows[mine]], log.time[rows[mine]]
        place = np.full(len(self._data.items), -1)
        place[columns] = np.arange(len(columns))
        allowed = self._allowed(rows[mine], columns, place)
        if wants.draws is None or self._lists is not None:
            return np.where(allowed, np.float32(0), np.float32(-np.inf))
        # row by row, as the other matrices lie: a broadcast one would be laid out by columns
        drawn = np.empty(allowed.shape, np.float32)
        drawn[:] = np.bincount(place[draws], minlength=len(columns))
        expected = np.full(allowed.shape, len(draws) / max(len(self._pool), 1), np.float32)
        if self._proposal is not None:
            expected[:] = len(draws) * self._proposal[columns]
        if wants.in_batch:
            drawn += np.bincount(place[log.item[rows]], minlength=len(columns)).astype(np.float32)
            expected += (rate * self._item_count[columns]).astype(np.float32)
            own_row, other = np.nonzero(users[:, None] == log.user[rows][None, :])
            # numpy is several times as fast where there is one index
            np.subtract.at(
                drawn.reshape(-1),
                own_row * len(columns) + place[log.item[rows[other]]],
                np.float32(1),
            )
            first, last = self._by_user.start[users], self._by_user.start[users + 1]
            position, own_row = ranges(first, last)
            own = place[log.item[self._positives[self._by_user.row[position]]]]
            taken = (own_row * len(columns) + own)[own >= 0]
            np.subtract.at(expected.reshape(-1), taken, np.float32(rate))
        possible = allowed & (drawn > 0.5)
        weight: NDArray[np.floating] = drawn
        if wants.corrected:
            weight = drawn / np.maximum(expected, 1e-12)
        elif self._proposal is not None:
            weight = (
                drawn
                * self._popularity(times, columns)
                / np.maximum(self._proposal[columns], 1e-300)
            )
        with np.errstate(divide="ignore"):
            log_weight: NDArray[np.float32] = np.where(possible, np.log(weight), -np.inf).astype(
                np.float32
            )
        return log_weight

    def event_weight(self, rows: Ints) -> NDArray[np.float32]:
        """Return [B] float32 weight of each event of a batch by inverse propensity, see
        ``models/losses.py``; mean 1."""
        if self._wants.ips is None:
            return np.ones(len(rows), np.float32)
        log = self._data.log
        n, most = (
            self._as_of.n_item(log.item[rows], log.time[rows]),
            self._as_of.n_most(log.time[rows]),
        )
        weight = 1 / np.maximum(np.sqrt((n + 1) / (most + 1)), self._wants.ips)
        normed: NDArray[np.float32] = (weight / weight.mean()).astype(np.float32)
        return normed

    def _allowed(self, rows: Ints, columns: Ints, place: Ints) -> Bools:
        """[B, M] whether each column is a candidate for each event that its user neither had nor
        takes at its time.

        What a list shows has been released, even if nobody took it before.
        """
        log = self._data.log
        if self._lists is None:
            allowed = self._catalogue.released(log.time[rows], columns)
        else:
            allowed = np.zeros((len(rows), len(columns)), bool)
            owner, shown = self._shown(rows)
            allowed[owner, place[shown]] = True
        row, item = self._catalogue.had(log.user[rows], log.time[rows], block=True)
        inside = place[item] >= 0
        allowed[row[inside], place[item[inside]]] = False
        return allowed

    def _shown(self, rows: Ints) -> tuple[Ints, Ints]:
        """(place in ``rows``, item) of everything that the lists of these events showed and was not
        clicked there."""
        assert self._lists is not None
        number = self._list[rows]
        position, owner = ranges(self._lists.start[number], self._lists.start[number + 1])
        left = ~self._lists.clicked[position]
        return owner[left], self._lists.item[position[left]]

    def _popularity(self, times: Ints, columns: Ints) -> Floats:
        """[B, M] chance of each item to be drawn at each time: (its events before it, + 1 if in the
        pool) / their sum.

        The pool holds the items that are candidates at some time of the epoch.
        """
        in_pool = np.isin(columns, self._pool)
        n = self._as_of.n_item(columns[None, :], times[:, None])
        chance: Floats = (n + in_pool) / (self._as_of.n_events(times) + len(self._pool))[:, None]
        return chance

    def _mean_popularity(self) -> Floats:
        """[N] mean of ``_popularity`` over the times of the epoch's events: what is drawn from, the
        same for all of a batch, so that the expected number of draws is exact; every event then
        weighs them as of its own time."""
        log = self._data.log
        times = log.time[self.rows]
        if not len(times):
            return np.full(len(self._data.items), 1 / len(self._data.items))
        share = 1 / (self._as_of.n_events(times) + len(self._pool)) / len(times)
        # of an item's event, all of the epoch's events behind it know
        later = np.append(np.cumsum(share[::-1])[::-1], 0.0)
        positive = np.flatnonzero(log.positive)
        known = later[np.searchsorted(times, log.time[positive], side="right")]
        mean = np.bincount(log.item[positive], weights=known, minlength=len(self._data.items))
        mean[self._pool] += share.sum()
        normed: Floats = mean / mean.sum()
        return normed


def _enter_within(catalogue: Catalogue, times: Ints) -> Ints:
    """Items that are candidates at some time from the first to the last of ``times`` [E], which may
    be empty."""
    if not len(times):
        return np.zeros(0, np.int64)
    return np.flatnonzero(
        (catalogue.enters_at <= times.max()) & (catalogue.leaves_at > times.min())
    )


def _list_of(lists: Impressions, log: Log, rows: Ints, n_items: int) -> Ints:
    """[E] the first list of the event's user and second in which its item was clicked, -1 where
    none was."""
    owner = lists.owner[lists.clicked]
    user, time = lists.user[owner], lists.time[owner]
    every_time = np.concatenate([log.time[rows], time])
    _, second = np.unique(every_time, return_inverse=True)
    key = np.concatenate([log.user[rows], user]) * n_items + np.concatenate(
        [log.item[rows], lists.item[lists.clicked]]
    )
    key = key * (second.max(initial=0) + 1) + second
    asked, clicks = key[: len(rows)], key[len(rows) :]
    order = np.argsort(clicks, kind="stable")
    at = np.searchsorted(clicks[order], asked)
    found = np.append(clicks[order], -1)[at] == asked
    return np.where(found, np.append(owner[order], -1)[at], -1)
