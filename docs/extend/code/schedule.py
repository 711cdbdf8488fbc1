"""A schedule: learn after every n-th window only, from all windows since the last time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from coldlm.core.tables import Ints
from coldlm.learn.fit import Fitted


def every(n: int, rows: list[Ints], fit: Callable[[Ints], Fitted]) -> Callable[[int], Fitted]:
    """An ``update`` for ``coldlm.online.loop.run``: window -> what was done.

    Args:
        rows: of each window, the numbers of the log's events that may be trained on.
        fit: train on these rows.
    """

    def update(window: int) -> Fitted:
        if (window + 1) % n:
            return Fitted()  # nothing was done
        return fit(np.concatenate(rows[window + 1 - n : window + 1]))

    return update
