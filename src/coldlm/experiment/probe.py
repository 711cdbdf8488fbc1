"""The probe of a run: queries of validation and of every window of the stream whose events nothing
trains on, so that what a version remembers of a time can be measured."""

from __future__ import annotations

from typing import Any

import polars as pl

from coldlm.core.tables import Queries
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.world import World
from coldlm.models.rankers.ranker import Scorer

VALIDATION_PART = -1

COLUMNS = {
    "window": pl.Int64,
    "version": pl.Int64,
    "part": pl.Int64,
    "value": pl.Float64,
    "n_queries": pl.Int64,
}
"""Columns of ``probes.parquet``: macro nDCG of the ``version`` that is live at the end of
``window`` on the probe of window ``part`` of the stream, -1 for validation's. Window -1 is the end
of validation: version 0."""


class Probe:
    """Measures versions on every part of the probe. ``rows``: of ``probes.parquet`` so far."""

    def __init__(self, world: World, evaluation: Evaluation) -> None:
        stream, self._evaluation = world.stream, evaluation
        parts = {w: stream.where(stream.window == w) for w in range(world.split.n_windows)}
        self._parts: dict[int, Queries] = {
            part: asked.where(world.probe[asked.event[asked.start[:-1]]])
            for part, asked in {VALIDATION_PART: world.validation, **parts}.items()
        }
        self.rows: list[dict[str, Any]] = []

    def measure(self, scorer: Scorer, part: int = VALIDATION_PART) -> float:
        """Return macro nDCG on one part, NaN where nothing is in it."""
        return self._evaluation.measure_on(scorer, self._parts[part])

    def at_window(self, window: int, version: int, scorer: Scorer) -> None:
        """Measure the version that ends a window on every part, those to come too: they are asked
        as of their own times, and nobody learns what comes of it."""
        if any(row["window"] == window for row in self.rows):
            return
        for part, queries in self._parts.items():
            if len(queries):
                facts = (window, version, part, self.measure(scorer, part), len(queries))
                self.rows.append(dict(zip(COLUMNS, facts, strict=True)))

    def frame(self) -> pl.DataFrame:
        """Return ``probes.parquet``."""
        return pl.DataFrame(self.rows, schema=COLUMNS)
