"""Stage online: score each window, then let the weights follow it as the schedule says."""

from __future__ import annotations

import logging
import time
from functools import partial

import numpy as np
import polars as pl

from coldlm.config.build import resolve
from coldlm.config.options import Schedule, named
from coldlm.core.columns import MODEL
from coldlm.core.tables import Ints
from coldlm.evaluate.judge import concatenate
from coldlm.experiment.model import take_snapshot
from coldlm.experiment.state import State
from coldlm.learn.fit import Fitted
from coldlm.online import loop
from coldlm.runs.process import peak_memory_mb

log = logging.getLogger("coldlm")


class Work:
    """What a schedule can do between two windows (``online.schedules.Work``)."""

    def __init__(self, state: State) -> None:
        self._state, self._config = state, state.inputs.config.online
        world = state.inputs.world
        self._edges: Ints = np.searchsorted(world.data.log.time, world.split.edges)

    def rows(self, window: int) -> Ints:
        """Return the rows of the log in a window that can be trained on."""
        return self._state.workshop.training.trainable(np.arange(*self._edges[window : window + 2]))

    def fit_window(self, window: int) -> Fitted:
        """Train on with the events of one window."""
        return self._state.workshop.training.fit(
            self.rows(window),
            f"update {window + 1}",
            epochs=self._config.epochs,
            lr_factor=self._config.lr_factor,
        )

    def fit_anew(self, window: int) -> Fitted:
        """Train anew from the pre-trained weights, on all events up to the end of a window."""
        epochs = self._config.epochs or self._state.manifest.best_epoch
        known = (
            np.arange(self._edges[window + 1]),
            int(self._state.inputs.world.split.edges[window + 1]),
        )
        part = f"retrain {window + 1}"
        return self._state.fit_anew(*known, part, epochs=epochs, lr_factor=self._config.lr_factor)[
            0
        ]


def run(state: State) -> None:
    """Test, then train, window by window, and leave what came of it in the run folder."""
    begin = time.perf_counter()
    shop, world, record = state.workshop, state.inputs.world, state.inputs.record
    schedule, work = state.inputs.config.online.schedule, Work(state)
    judged, updates = loop.run(
        shop.ranker,
        world.stream,
        world.split.n_windows,
        first=state.trained(),
        snapshot=lambda: take_snapshot(shop.ranker, world),
        judge=lambda scorer, queries: shop.evaluation.judge(scorer, queries, MODEL),
        update=partial(resolve(named(Schedule, schedule).target), work),
        probe=lambda scorer, window: shop.training.probe(scorer, work.rows(window)),
        peak_memory_mb=peak_memory_mb,
        tell=_tell,
    )
    versions = np.cumsum([0, *(not update.rolled_back for update in updates)])
    live_from = world.split.edges[np.searchsorted(versions, versions)]
    state.manifest.seconds["online"] = time.perf_counter() - begin
    if updates:
        state.manifest.seconds_per_update = float(np.mean([update.seconds for update in updates]))
    record.save_model("online", shop.ranker)
    record.write_frame("updates.parquet", pl.DataFrame([update.row() for update in updates]))
    window = np.repeat(world.stream.window, np.diff(world.stream.start))
    rows = concatenate(judged)
    frame = shop.evaluation.tabulate(rows, MODEL, schedule, versions[window], live_from[window])
    record.write_events("online", frame)


def _tell(update: loop.Update) -> None:
    log.info(
        "update %d after window %d: %d events, %.1f s, loss %.3f -> %.3f%s",
        update.version,
        update.window,
        update.n_events,
        update.seconds,
        update.loss_before,
        update.loss_after,
        ", rolled back" if update.rolled_back else "",
    )
