"""Test, then train: each window is scored by one immutable model version before anything is learned from it.

```
window        0            1            2
scored by     version 0    version 1    version 2
trained on         -> v1        -> v2
```
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from coldlm.errors import Diverged, ScoreError
from coldlm.evaluate.judge import Judged, Scorer
from coldlm.learn.fit import Fitted
from coldlm.models.ranker import Ranker
from coldlm.tables import Queries


@dataclass(frozen=True)
class Update:
    """One update. ``version`` it made; ``window`` it learned from; ``n_events`` trained on; ``seconds`` of it, training
    and re-encoding; ``peak_memory_mb`` of the process so far; ``bytes`` of the changed parameters; ``loss_before``,
    ``loss_after``: mean loss of one fixed batch of the window; ``rolled_back``: the loss was not finite, and the
    version before stays live."""

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
    ranker: Ranker,
    queries: Queries,
    n_windows: int,
    *,
    first: Scorer,
    snapshot: Callable[[], Scorer],
    judge: Callable[[Scorer, Queries], Judged],
    update: Callable[[int], Fitted],
    probe: Callable[[int], float],
    peak_memory_mb: Callable[[], float],
) -> tuple[list[Judged], list[Update]]:
    """Score every window and learn from each but the last.

    Args:
        ranker: trained before T_test; changed in place.
        queries: of the stream, with their windows.
        first: version 0, the weights of ``ranker`` as they come in.
        snapshot: the current weights as a scorer.
        judge: (scorer, queries of one window) -> its rows.
        update: window -> train ``ranker`` on that window's events.
        probe: window -> loss on a fixed batch of its events, without training.

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
        loss_before, examples, rolled_back = probe(window), 0, False
        try:
            examples = update(window).examples
            loss_after = probe(window)
        except Diverged:
            rolled_back, loss_after = True, float("nan")
        if not all(torch.isfinite(tensor).all() for tensor in ranker.trainable().values()):
            rolled_back = True
        if rolled_back:
            ranker.restore(before)
        version += not rolled_back
        scorer = snapshot()
        updates.append(
            Update(
                version=version,
                window=window,
                n_events=examples,
                seconds=time.perf_counter() - begin,
                peak_memory_mb=peak_memory_mb(),
                bytes=_changed_bytes(before, ranker.trainable()),
                loss_before=loss_before,
                loss_after=loss_after,
                rolled_back=rolled_back,
            )
        )
    return judged, updates


def _changed_bytes(before: dict[str, Tensor], after: dict[str, Tensor]) -> int:
    """Bytes that would have to be shipped to bring ``before`` to ``after``."""
    return sum(t.numel() * t.element_size() for name, t in after.items() if not torch.equal(before[name], t))
