"""Stage online: score each second of the stream, and let the weights follow it as the schedule
says."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable

import numpy as np
import polars as pl
import torch

from coldlm.config.build import build
from coldlm.config.schedules import label_of
from coldlm.core.columns import HEADLINE_K, MODEL
from coldlm.core.progress import listed, progress
from coldlm.evaluate.continual import summary
from coldlm.evaluate.judge import Judged
from coldlm.evaluate.metrics import ndcg
from coldlm.evaluate.positives import with_metrics
from coldlm.experiment.curve import Curve
from coldlm.experiment.probe import VALIDATION_PART, Probe
from coldlm.experiment.saved_stream import SavedStream
from coldlm.experiment.state import State
from coldlm.experiment.updater import Updater
from coldlm.models.rankers.ranker import Scorer
from coldlm.online import loop
from coldlm.online.audit import audit

log = logging.getLogger("coldlm")

RECENT = 20
"""Stretches of the stream whose mean quality the progress bar shows."""


def run(state: State) -> None:
    """Test, then train, and leave what came of it in the run folder."""
    begin = time.perf_counter()
    shop, record, manifest = state.workshop, state.inputs.record, state.manifest
    probe = Probe(state.inputs.world, shop.evaluation)
    updater = Updater(state, state.trained(), probe)
    saved = SavedStream(state, updater, probe)
    probe.at_window(VALIDATION_PART, 0, updater.scorer)
    curve = Curve(state)
    stream, scoring = _pass(state, updater, probe, saved, curve)
    manifest.seconds["online"] = seconds = time.perf_counter() - begin
    updates = pl.DataFrame([update.row() for update in stream.updates], schema=loop.SCHEMA)
    if len(updates):
        manifest.seconds_per_update = float(updates["seconds"].to_numpy().mean())
    frame = _events(state, stream)
    manifest.audit = audit(frame, updates, state.inputs.world.delay)
    log.info("audit of the stream: %s", listed(manifest.audit))
    record.save_model("online", shop.ranker)
    record.write_frame("updates.parquet", updates)
    record.write_frame("probes.parquet", probe.frame())
    scored = with_metrics(frame, HEADLINE_K)
    manifest.stream = summary(scored, updates, probe.frame(), seconds, scoring)
    record.write_stream(curve.frame(stream))
    record.write_events("online", frame)
    saved.forget()


def _pass(
    state: State, updater: Updater, probe: Probe, saved: SavedStream, curve: Curve
) -> tuple[loop.Stream[Scorer], float]:
    """Go through the stream; the seconds in which queries were scored, too."""
    world, ask = state.inputs.world, state.workshop.evaluation
    queries, scoring, found = world.stream, list[float](), deque[Judged](maxlen=RECENT)
    with progress("online", len(queries)) as done:

        def judge(scorer: Scorer, first: int, last: int, since: int) -> Judged:
            begin = time.perf_counter()
            judged = ask.judge_part(scorer, first, last, since)
            scoring.append(time.perf_counter() - begin)
            found.append(judged)
            done(last - since, _said(found, (last - since) / scoring[-1], updater.version))
            return judged

        def at_rest(stream: loop.Stream[Scorer]) -> None:
            curve.at_rest(stream)
            saved.at_rest(stream)

        stream = loop.Stream(
            loop.Clock.of(world.data.log, queries, world.split.edges, world.delay),
            queries,
            build(state.inputs.config.online.trigger),
            n_items=len(world.catalogue),
            first=updater.scorer,
            judge=judge,
            update=updater.update,
            at_window=lambda window, live: probe.at_window(window, live.version, live.scorer),
            at_rest=at_rest,
            replayed=saved.updates,
            scored=saved.scored,
        )
        stream.run()
    return stream, sum(scoring)


def _said(found: Iterable[Judged], speed: float, version: int) -> str:
    """What a progress bar says beside itself."""
    g, e = (torch.from_numpy(np.concatenate([getattr(j, c) for j in found])) for c in ("g", "e"))
    recent = float(ndcg(g, e, HEADLINE_K).mean()) if len(g) else float("nan")
    return f"version {version}, nDCG@{HEADLINE_K} {recent:.3f} lately, {speed:.0f} queries/s"


def _events(state: State, stream: loop.Stream[Scorer]) -> pl.DataFrame:
    """The stage's rows of ``events.parquet``."""
    scored = stream.scored
    return state.workshop.evaluation.tabulate(
        scored.judged,
        MODEL,
        label_of(state.inputs.config.online.parts),
        scored.version,
        scored.since.astype(np.int64),
        scored.latency,
    )
