"""Test, then train: each window is scored by one immutable model version before anything is learned
from it.

```
window        0            1            2
scored by     version 0    version 1    version 2
trained on         -> v1        -> v2
```
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeVar

from coldlm.core.errors import Diverged, ScoreError
from coldlm.core.tables import Queries
from coldlm.evaluate.judge import Judged, ScoreFunction
from coldlm.learn.fit import Fitted
from coldlm.models.rankers.ranker import Model

S = TypeVar("S", bound=ScoreFunction)


@dataclass(frozen=True)
class Update:
    """One update. ``version`` it made; ``window`` it learned from; ``n_events`` trained on;
    ``seconds`` of it, training and re-encoding; ``peak_memory_mb`` of the process so far; ``bytes``
    of the parameters that train, all of which an update ships, 0 where there is nothing to ship;
    ``loss_before``, ``loss_after``: mean loss of one fixed batch of the window, NaN if there is
    none; ``rolled_back``: a loss or a weight was not finite, and the version before stays live.
    """

    version: int
    window: int
    n_events: int
    seconds: float
    peak_memory_mb: float
    bytes: int
    loss_before: float
    loss_after: float
    rolled_back: bool

    def row(self) -> dict[str, float | int | bool]:
        """For ``updates.parquet``."""
        return asdict(self)


def run(
    ranker: Model,
    queries: Queries,
    n_windows: int,
    *,
    first: S,
    snapshot: Callable[[], S],
    judge: Callable[[S, Queries], Judged],
    update: Callable[[int], Fitted],
    probe: Callable[[S, int], float],
    peak_memory_mb: Callable[[], float],
    tell: Callable[[Update], None] = lambda update: None,
) -> tuple[list[Judged], list[Update]]:
    """Score every window and learn from each but the last.

    Args:
        ranker: trained before T_test; changed in place.
        queries: of the stream, with their windows.
        first: version 0, the weights of ``ranker`` as they come in.
        snapshot: the current weights as a scorer.
        judge: (scorer, queries of one window) -> its rows.
        update: window -> train ``ranker`` on that window's events.
        tell: is told of every update when it has happened.
        probe: (scorer of the current weights, window) -> its loss on a fixed batch of the window's
            events.

    Returns:
        One ``Judged`` and at most one ``Update`` per window, in order.
    """
    judged, updates, version = [], list[Update](), 0
    scorer = first
    for window in range(n_windows):
        try:
            judged.append(judge(scorer, queries.where(queries.window == window)))
        except ScoreError as error:
            raise ScoreError(f"window {window}, model version {version}: {error}") from None
        if window == n_windows - 1:
            break
        begin = time.perf_counter()
        before = {name: tensor.clone() for name, tensor in ranker.trainable().items()}
        loss_before, examples, rolled_back = probe(scorer, window), 0, False
        try:
            examples = update(window).examples
            updated = snapshot()
            loss_after = probe(updated, window)
            rolled_back = math.isfinite(loss_before) and not math.isfinite(loss_after)
        except Diverged:
            rolled_back, loss_after = True, float("nan")
        if rolled_back:
            ranker.restore(before)
        else:
            version, scorer = version + 1, updated
        updates.append(
            Update(
                version=version,
                window=window,
                n_events=examples,
                seconds=time.perf_counter() - begin,
                peak_memory_mb=peak_memory_mb(),
                bytes=ranker.trained_bytes if examples and not rolled_back else 0,
                loss_before=loss_before,
                loss_after=loss_after,
                rolled_back=rolled_back,
            )
        )
        tell(updates[-1])
    return judged, updates
