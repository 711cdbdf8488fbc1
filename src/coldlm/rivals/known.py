"""What a rival may learn from, what it sees of a query's user, and when it stops learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.tables import Bools, Dataset, Ints
from coldlm.evaluate.judge import ScoreFunction


@dataclass
class Stopping:
    """When what learns in epochs stops. ``measure``: the value of a scorer on validation, which says
    when and leaves the best number in ``epochs``; None where validation is learned from too: then
    ``epochs`` is how many there are."""

    measure: Callable[[ScoreFunction], float] | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Known:
    """``rows``: [E] of the log, all that may be learned from; ``known``: [N] items that had entered by
    the end of them. Histories and counts are asked of ``as_of``, as of each query. ``history``: how
    many of a user's last items are looked at. ``vectors``: [N, D] float32 of the untouched backbone, of the
    items' texts. ``seed``: of all that is drawn. ``half_life``: 0, 1 or 2, of the decayed counts that do
    best on validation."""

    data: Dataset
    catalogue: Catalogue
    as_of: AsOf
    rows: Ints
    known: Bools
    history: int
    vectors: Tensor
    seed: int
    half_life: int
    stopping: Stopping = field(default_factory=Stopping)

    @property
    def positives(self) -> Ints:
        """[P] the positives in ``rows``, in time order."""
        return self.rows[self.data.log.positive[self.rows]]

    @property
    def seen(self) -> Bools:
        """[N] items that somebody took in ``rows``."""
        return np.bincount(self.data.log.item[self.positives], minlength=len(self.data.items)) > 0

    def taken(self) -> Any:
        """Return [U, N] scipy.sparse, 1 where a user took an item in ``rows``, however often."""
        from scipy.sparse import csr_matrix

        log, rows = self.data.log, self.positives
        shape = len(self.data.users), len(self.data.items)
        matrix = csr_matrix((np.ones(len(rows)), (log.user[rows], log.item[rows])), shape=shape)
        matrix.data[:] = 1
        return matrix

    def past(self, users: Ints, times: Ints, last: int | None = None) -> Any:
        """Return [Q, N] scipy.sparse, 1 where an item is among the ``last`` (by default ``history``) of
        each user before each time."""
        from scipy.sparse import csr_matrix

        history = self.as_of.history(users, times, self.history if last is None else last)
        row, column = np.nonzero(history >= 0)
        shape = len(users), len(self.data.items)
        matrix = csr_matrix((np.ones(len(row)), (row, history[row, column])), shape=shape)
        matrix.data[:] = 1
        return matrix

    def whole_past(self, users: Ints, times: Ints) -> Any:
        """Return the same of all that each user had taken before each time."""
        longest = int(self.as_of.n_user(users, times).max(initial=0))
        return self.past(users, times, max(longest, 1))


Make = Callable[[Known, float], ScoreFunction]
"""A rival: what is known, and the value of its one setting -> its scores."""
