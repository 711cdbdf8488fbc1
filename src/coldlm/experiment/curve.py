"""The stream as it goes on: its quality stretch by stretch and window by window, and its updates,
told against the events seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch

from coldlm.core.columns import HEADLINE_K, MODEL, metric_key
from coldlm.core.tracked import EVENTS
from coldlm.evaluate.continual import SERIES, ends_of_stretches, stretch
from coldlm.evaluate.metrics import HEADLINE, ndcg
from coldlm.evaluate.summary import summarise
from coldlm.experiment.state import State
from coldlm.online.loop import SCHEMA, Stream, Update
from coldlm.runs.process import peak_memory_mb

OF_UPDATES = (
    *("version", "seconds", "train_seconds", "encode_seconds", "bytes", "peak_memory_mb"),
    *("loss_before", "loss_after", "probe_before", "probe_after"),
)
"""Fields of an update that are told as they are."""


class Curve:
    """Tells of everything in the stream once nothing can change it any more, in its order: what
    ends at one event is one point."""

    def __init__(self, state: State) -> None:
        self._track, self._evaluation = state.inputs.record.track, state.workshop.evaluation
        queries = state.inputs.world.stream
        self._start, self._time = queries.start, queries.time
        self._ends = ends_of_stretches(int(self._start[-1])).tolist()
        windows = np.unique(queries.window)
        self._windows = windows.tolist()
        self._window_ends = self._start[
            np.searchsorted(queries.window, windows, side="right")
        ].tolist()
        self._baselines = _baselines(state)
        self._stretches: list[pl.DataFrame] = []
        self._n_windows, self._n_updates = 0, 0

    def at_rest(self, stream: Stream[Any]) -> None:
        """Tell what is over by now. What ends at the very event at which the stream stands waits: an
        update may still come there."""
        query = min(stream.scored.done, stream.position)
        self._tell(stream, int(self._start[query]) - 1)

    def frame(self, stream: Stream[Any]) -> pl.DataFrame:
        """Return ``stream.parquet`` of a stream that is over, all of it told."""
        self._tell(stream, int(self._start[-1]))
        return pl.concat(self._stretches) if self._stretches else pl.DataFrame(schema=SERIES)

    def _tell(self, stream: Stream[Any], seen: int) -> None:
        """Tell what ends at one of the first ``seen`` events."""
        points: dict[int, dict[str, float]] = {}
        while (at := len(self._stretches)) < len(self._ends) and self._ends[at] <= seen:
            points.setdefault(self._ends[at], {}).update(self._stretch(stream, at))
        while (at := self._n_windows) < len(self._windows) and self._window_ends[at] <= seen:
            self._n_windows += 1
            if self._window_ends[at] > self._track.last(EVENTS):  # it was told before
                points.setdefault(self._window_ends[at], {}).update(self._window(stream, at))
        for update in stream.updates[self._n_updates :]:
            place = int(self._start[np.searchsorted(self._time, update.time)])
            if place > seen:
                break
            self._n_updates += 1
            points.setdefault(place, {}).update(_of_update(update))
        for place in sorted(points):
            self._track.point(EVENTS, place, points[place])

    def _stretch(self, stream: Stream[Any], at: int) -> dict[str, float]:
        """What is told of a stretch, whose row of ``stream.parquet`` is kept."""
        begin, end = (self._ends[at - 1] if at else 0), self._ends[at]
        updates = pl.DataFrame([update.row() for update in stream.updates], schema=SCHEMA)
        rows = stretch(self._events(stream, begin, end), updates, at, end)
        self._stretches.append(rows)
        values = {
            metric_key("stream", row["age"], HEADLINE, HEADLINE_K): row["ndcg"]
            for row in rows.iter_rows(named=True)
        }
        return values | {"stream/version": rows["version"][0]}

    def _window(self, stream: Stream[Any], at: int) -> dict[str, float]:
        """The headline of a window in every cohort, as ``results.parquet`` will have that of all, with
        the baselines' beside it."""
        begin, end = (self._window_ends[at - 1] if at else 0), self._window_ends[at]
        events = self._events(stream, begin, end)
        values = summarise(events.drop(HEADLINE), HEADLINE_K, by_window=False, by_bucket=False)
        own = values.filter(average="macro", metric=HEADLINE, k=HEADLINE_K).drop_nulls("value")
        told = {
            metric_key("window", row["cohort"], HEADLINE, HEADLINE_K): row["value"]
            for row in own.iter_rows(named=True)
        }
        told |= self._baselines.get(self._windows[at], {})
        return told | {"memory/peak_mb": peak_memory_mb()}

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


def _of_update(update: Update) -> dict[str, float]:
    row = update.row()
    told = {f"update/{name}": float(row[name]) for name in OF_UPDATES}
    return {key: value for key, value in told.items() if np.isfinite(value)} | {
        "update/examples": update.n_events,
        "update/accepted": float(not update.rolled_back),
    }


def _baselines(state: State) -> dict[int, dict[str, float]]:
    """Window -> what the baselines that stage evaluate has judged have in it, nothing where it has
    judged none."""
    file = state.inputs.record.folder / "results.parquet"
    if not file.is_file():
        return {}
    rows = pl.scan_parquet(file).filter(
        pl.col("window") >= 0, pl.col("scorer") != MODEL, pl.col("value").is_not_null()
    )
    rows = rows.filter(cohort="all", average="macro", metric=HEADLINE, k=HEADLINE_K)
    found: dict[int, dict[str, float]] = {}
    for window, scorer, value in rows.select("window", "scorer", "value").collect().rows():
        key = metric_key("window", f"baseline/{scorer}", HEADLINE, HEADLINE_K)
        found.setdefault(window, {})[key] = value
    return found
