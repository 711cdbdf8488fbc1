"""Stage evaluate: score the stream with the weights as they were trained, while histories grow.

A control is done then ("history"); other runs are also scored with histories that stop at T_test
("static"), and so are the baselines, by the same code.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any, cast

import polars as pl

from coldlm.core.columns import MODEL
from coldlm.core.files import hash_file
from coldlm.core.tables import STREAM
from coldlm.evaluate.judge import Judged, ScoreFunction
from coldlm.experiment.baselines import judge_baselines
from coldlm.experiment.kept import JudgedModel
from coldlm.experiment.lists import ShownLists
from coldlm.experiment.rivals import LearnedAnew
from coldlm.experiment.state import State
from coldlm.models.rankers.pairwise import PairSnapshot
from coldlm.models.rankers.ranker import Scorer

log = logging.getLogger("coldlm")


def run(state: State) -> None:
    """Judge the trained model and what it must be better than, and leave their tables in the run
    folder."""
    begin = time.perf_counter()
    shop, record, manifest = state.workshop, state.inputs.record, state.manifest
    asked, theirs = shop.config.evaluate, state.inputs.kept.baselines
    lists = ShownLists(state.inputs.world, asked.lists, asked.shelf)
    model = _model(state, lists)
    manifest.latency_ms, manifest.first_stage = model.latency_ms, model.first_stage
    if model.classes:
        record.write_classification(*model.classes)
    parts = [
        shop.evaluation.tabulate(rows, MODEL, schedule) for schedule, rows in model.rows.items()
    ]
    has_baselines = shop.config.control.name == "none"
    if has_baselines:
        parts += _baselines(state, lists)
    if lists.kept:
        record.write_lists(lists.frame(), lists.said)
    manifest.seconds["evaluate"] = time.perf_counter() - begin
    known = model.summaries | (theirs.summaries if has_baselines else {})
    record.write_events("evaluate", pl.concat(parts), known)
    model.summaries = {key: told for key, told in known.items() if MODEL in key}
    if has_baselines:
        theirs.summaries = {key: told for key, told in known.items() if MODEL not in key}


def _model(state: State, lists: ShownLists) -> JudgedModel:
    """What is found of the trained model, unless another cell of this sweep has found it of the same
    weights; its lists join ``lists``."""
    kept = state.inputs.kept
    key = json.dumps([state.training_key, hash_file(state.weights)])
    if kept.model is None or kept.model[0] != key:
        kept.model = None  # before another one is made
        kept.model = key, _judge(state, state.trained(), lists)
    else:
        log.info("the weights of another cell of this sweep: what was found of them stands")
    model = kept.model[1]
    lists.kept, lists.said = dict(model.lists), dict(model.shown)
    return model


def _judge(state: State, scorer: Scorer, lists: ShownLists) -> JudgedModel:
    shop, world, ask = state.workshop, state.inputs.world, state.workshop.evaluation
    rows = {"history": ask.judge_stream(scorer, MODEL)}
    latency, first_stage, classes = ask.time_requests(scorer), _first_stage(state), None
    if shop.ranker.head.is_classifier:
        labelled = shop.training.trainable(world.split.rows(STREAM))
        classes = ask.classify(cast(PairSnapshot, scorer), labelled)
    lists.add(scorer, MODEL)
    if shop.config.control.name == "none":
        past = scorer.remembering(world.memory_of_the_past())
        rows["static"] = ask.judge_stream(past, f"{MODEL}, histories stopped")
    return JudgedModel(rows, latency, first_stage, classes, dict(lists.kept), dict(lists.said))


def _baselines(state: State, lists: ShownLists) -> list[pl.DataFrame]:
    """The baselines' rows of ``events.parquet``; their lists join ``lists``, and what they say of leaks
    goes into the manifest."""
    shop, kept, manifest = state.workshop, state.inputs.kept.baselines, state.manifest
    ask = shop.evaluation
    theirs = lists.without_rows()

    def judged(scorer: ScoreFunction, name: str) -> Judged:
        # lists are of weights as trained
        if not isinstance(scorer, LearnedAnew):
            theirs.add(scorer, name)
        return ask.judge_stream(scorer, name)

    judge_baselines(
        kept,
        shop.config,
        state.inputs.world,
        shop.ranker.head.history,
        ask.measure,
        judged,
    )
    # those that were judged now, and not for an earlier cell of the sweep
    kept.lists |= theirs.kept
    kept.shown |= theirs.said
    lists.kept |= kept.lists
    lists.said |= kept.shown
    manifest.recent_popularity_half_life_days = kept.half_life_days
    manifest.rivals = kept.rivals or None
    manifest.on_validation = kept.on_validation
    manifest.leaks = {**(manifest.leaks or {}), "late_idf": kept.late_words}
    log.info("leak meter: words whose document frequency knows the future: %d", kept.late_words)
    return [ask.tabulate(rows, name, "history") for name, rows in kept.rows.items()]


def _first_stage(state: State) -> dict[str, Any] | None:
    """What a head that re-ranks could find at most; None where it ranks all."""
    shop, head = state.workshop, state.workshop.ranker.head
    if shop.ranker.first_stage is None:
        return None
    first = shop.ranker.first_stage(state.inputs.world.as_of)
    ceiling = shop.evaluation.recall(first, f"first stage {head.first_stage}", head.rerank)
    stage = {"name": head.first_stage, "rerank": head.rerank, "recall": ceiling}
    log.info(
        "re-ranking the best %(rerank)d of %(name)s, whose recall is %(recall).4f: no more can be "
        "found",
        stage,
    )
    return stage
