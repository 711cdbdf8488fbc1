"""Who is a candidate at time t: the only implementation of the release rule and of "already
had"."""

from __future__ import annotations

import copy

import numpy as np

from coldlm.asof.grouped import Grouped, ranges
from coldlm.core.tables import DAY, UNKNOWN, Bools, Dataset, Ints, Log


class Catalogue:
    """C(t) of one data set.

    An item enters at its release time where the data has one, and otherwise *after* its first event
    (of any label): an event cannot be the thing that made its own item a candidate. ``enters_at``:
    [N] int64, the first second at which the item is a candidate; the rule is causal, since an item
    without a release time is simply absent until somebody has met it. ``leaves_at``: [N] int64.

    ```
    released_at known      ----|======================   candidate from the release on, clicked or not
    released_at unknown    --------------x|===========   candidate from just after its first event x
      the same on a grid   ------[=======x===)========   candidate from the start of the slot in which x lies
    ```

    On a grid (``Dataset.slot``) a candidate without events is known to get its first one before the
    slot ends. So that nothing tells such an item from the others of its slot, whatever counts
    events or age is masked until then: ``masked_until``, [N] int64, the end of the slot in which
    each item entered; ``enters_at`` where nothing is masked.
    """

    def __init__(self, data: Dataset) -> None:
        self.repeats = data.repeats
        first = np.full(len(data.items), UNKNOWN - 1, np.int64)
        np.minimum.at(first, data.log.item, data.log.time)
        self._enter(data, first)
        self._remember(data.log, len(data.users))

    def _enter(self, data: Dataset, first: Ints) -> None:
        """Let every item enter and leave, whose first event is at the second ``first``, [N]."""
        self.first_event: Ints = first
        self.enters_at: Ints = np.minimum(data.items.released_at, first + 1)
        self.masked_until: Ints = self.enters_at
        if data.slot is not None:
            unknown = (data.items.released_at == UNKNOWN) & (first < UNKNOWN - 1)
            begin = first // data.slot * data.slot
            self.enters_at = np.where(unknown, begin, self.enters_at)
            self.masked_until = np.where(unknown, begin + data.slot, self.enters_at)
        self.leaves_at: Ints = np.full(len(first), UNKNOWN, np.int64)
        if data.item_ttl_days is not None:
            ttl = int(data.item_ttl_days * DAY)
            self.leaves_at = np.where(self.enters_at < UNKNOWN - ttl, self.enters_at + ttl, UNKNOWN)

    def _remember(self, log: Log, n_users: int) -> None:
        self._item = log.item
        self._n_users, self._by_user = n_users, Grouped(log.user, log.time, n_users)
        # the log is in time order, so the first row of a pair is the first time the user met the
        # item
        self._pair, first_row = np.unique(log.user * len(self) + log.item, return_index=True)
        self._pair_time: Ints = log.time[first_row]

    def knowing(self, log: Log) -> Catalogue:
        """Return the same items at the same times, to somebody who knows of the events ``log``
        alone: users had what they had in them."""
        other = copy.copy(self)
        other._remember(log, self._n_users)
        return other

    def __len__(self) -> int:
        return len(self.enters_at)

    def released(self, times: Ints, items: Ints | None = None) -> Bools:
        """Return [Q, M] whether each item (all of them by default) has entered and not left at each
        time."""
        enters = self.enters_at if items is None else self.enters_at[items]
        leaves = self.leaves_at if items is None else self.leaves_at[items]
        found: Bools = enters[None, :] <= times[:, None]
        if leaves.min(initial=UNKNOWN) <= times.max(initial=0):
            found &= times[:, None] < leaves[None, :]
        return found

    def had(self, users: Ints, times: Ints, block: bool = False) -> tuple[Ints, Ints]:
        """Return (row, item) pairs: what each user, or who asks, had met, with any label, strictly
        before each time.

        Empty where items repeat. With ``block`` the user's events *at* the time are added, in
        either kind of domain: the training negatives of an event exclude the other events of its
        own block.
        """
        users = users % self._n_users
        last = self._by_user.before(users, times, inclusive=block)
        first = self._by_user.before(users, times) if self.repeats else self._by_user.start[users]
        position, row = ranges(first, last)
        return row, self._item[self._by_user.row[position]]

    def has_had(self, users: Ints, items: Ints, times: Ints) -> Bools:
        """Return [E] whether each user had met that item, with any label, strictly before that
        time; for pairs of the log."""
        at = np.searchsorted(self._pair, users * len(self) + items)
        return self._pair_time[at] < times

    def mask(self, users: Ints, times: Ints) -> Bools:
        """Return [Q, N] the candidates of each (user, time): released, and not had where items do
        not repeat."""
        mask = self.released(times)
        mask[self.had(users, times)] = False
        return mask
