"""What a rival may learn from, and what it sees of a query's user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.tables import Bools, Dataset, Ints
from coldlm.evaluate.judge import ScoreFunction


@dataclass(frozen=True)
class Known:
    """``rows``: [E] of the log, all that may be learned from; ``known``: [N] items that had entered by
    the end of them. Histories and counts are asked of ``as_of``, as of each query. ``history``: how
    many of a user's last items are looked at."""

    data: Dataset
    catalogue: Catalogue
    as_of: AsOf
    rows: Ints
    known: Bools
    history: int

    def taken(self) -> Any:
        """Return [U, N] scipy.sparse, 1 where a user took an item in ``rows``, however often."""
        from scipy.sparse import csr_matrix

        log = self.data.log
        rows = self.rows[log.positive[self.rows]]
        shape = len(self.data.users), len(self.data.items)
        matrix = csr_matrix((np.ones(len(rows)), (log.user[rows], log.item[rows])), shape=shape)
        matrix.data[:] = 1
        return matrix

    def past(self, users: Ints, times: Ints) -> Any:
        """Return [Q, N] scipy.sparse, 1 where an item is among the last of each user before each time."""
        from scipy.sparse import csr_matrix

        history = self.as_of.history(users, times, self.history)
        row, column = np.nonzero(history >= 0)
        shape = len(users), len(self.data.items)
        matrix = csr_matrix((np.ones(len(row)), (row, history[row, column])), shape=shape)
        matrix.data[:] = 1
        return matrix


Make = Callable[[Known, float], ScoreFunction]
"""A rival: what is known, and the value of its one setting -> its scores."""
