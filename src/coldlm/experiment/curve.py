"""Quality over the stream, stretch by stretch, told while the stream is on."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch

from coldlm.core.columns import HEADLINE_K, MODEL
from coldlm.evaluate.continual import SERIES, ends_of_stretches, stretch
from coldlm.evaluate.metrics import HEADLINE, ndcg
from coldlm.experiment.state import State
from coldlm.online.loop import SCHEMA, Stream


class Curve:
    """Tells the loggers of every stretch of the stream once nothing can change it any more.

    Args:
        told: queries that were scored, and whose stretches were told, before an interruption.
    """

    def __init__(self, state: State, told: int) -> None:
        self._record, self._evaluation = state.inputs.record, state.workshop.evaluation
        self._start = state.inputs.world.stream.start
        self._ends = ends_of_stretches(int(self._start[-1])).tolist()
        self._told = int(self._start[told])
        self._stretches: list[pl.DataFrame] = []

    def at_rest(self, stream: Stream[Any]) -> None:
        """Tell what is over by now."""
        self._tell(stream, min(stream.scored.done, stream.position))

    def frame(self, stream: Stream[Any]) -> pl.DataFrame:
        """Return ``stream.parquet`` of a stream that is over, all of it told."""
        self._tell(stream, len(self._start) - 1)
        return pl.concat(self._stretches) if self._stretches else pl.DataFrame(schema=SERIES)

    def _tell(self, stream: Stream[Any], query: int) -> None:
        """Tell the stretches that end before ``query``."""
        while (at := len(self._stretches)) < len(self._ends) and (
            self._ends[at] <= self._start[query]
        ):
            begin, end = (self._ends[at - 1] if at else 0), self._ends[at]
            updates = pl.DataFrame([update.row() for update in stream.updates], schema=SCHEMA)
            rows = stretch(self._events(stream, begin, end), updates, at, end)
            self._stretches.append(rows)
            if end > self._told:
                self._record.log_stretch(rows)

    def _events(self, stream: Stream[Any], begin: int, end: int) -> pl.DataFrame:
        """The positives from ``begin`` to ``end`` (excluded), with the metric that is told."""
        first = int(np.searchsorted(self._start, begin, side="right")) - 1
        last = int(np.searchsorted(self._start, end))
        whole = slice(int(self._start[first]), int(self._start[last]))
        scored = stream.scored
        frame = self._evaluation.tabulate(
            scored.judged.rows(whole), MODEL, "", scored.version[whole], part=(first, last)
        )
        part = frame.slice(begin - whole.start, end - begin)
        g, e = (torch.from_numpy(part[name].to_numpy().copy()) for name in ("g", "e"))
        return part.with_columns(pl.Series(HEADLINE, ndcg(g, e, HEADLINE_K).numpy()))
