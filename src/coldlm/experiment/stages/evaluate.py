"""Stage evaluate: score the stream with the weights as they were trained, while histories grow.

A control is done then ("history"); other runs are also scored with histories that stop at T_test
("static"), and so are the baselines, by the same code.
"""

from __future__ import annotations

import logging
import time
from typing import cast

import polars as pl

from coldlm.core.columns import MODEL
from coldlm.core.tables import STREAM
from coldlm.evaluate.judge import Judged, ScoreFunction
from coldlm.experiment.baselines import judge_baselines
from coldlm.experiment.lists import ShownLists
from coldlm.experiment.rivals import LearnedAnew
from coldlm.experiment.state import State
from coldlm.models.rankers.pairwise import PairSnapshot

log = logging.getLogger("coldlm")


def run(state: State) -> None:
    """Judge the trained model and what it must be better than, and leave their tables in the run
    folder."""
    begin = time.perf_counter()
    shop, world, manifest = state.workshop, state.inputs.world, state.manifest
    ask, scorer, parts = shop.evaluation, state.trained(), []
    parts.append(ask.tabulate(ask.judge_stream(scorer, MODEL), MODEL, "history"))
    manifest.latency_ms = ask.time_requests(scorer)
    _tell_what_re_ranking_can(state)
    if shop.ranker.head.is_classifier:
        rows = shop.training.trainable(world.split.rows(STREAM))
        state.inputs.record.write_classification(*ask.classify(cast(PairSnapshot, scorer), rows))
    lists = ShownLists(world, shop.config.evaluate.lists, shop.config.evaluate.shelf)
    lists.add(scorer, MODEL)
    if shop.config.control.name == "none":
        past = scorer.remembering(world.memory_of_the_past())
        parts.append(
            ask.tabulate(ask.judge_stream(past, f"{MODEL}, histories stopped"), MODEL, "static")
        )
        parts += _baselines(state, lists)
    if lists.kept:
        state.inputs.record.write_lists(lists.frame(), lists.said)
    manifest.seconds["evaluate"] = time.perf_counter() - begin
    state.inputs.record.write_events("evaluate", pl.concat(parts))


def _baselines(state: State, lists: ShownLists) -> list[pl.DataFrame]:
    """The baselines' rows of ``events.parquet``; their lists join ``lists``, and what they say of leaks
    goes into the manifest."""
    shop, kept, manifest = state.workshop, state.inputs.kept.baselines, state.manifest
    ask = shop.evaluation
    theirs = ShownLists(lists.world, lists.number, lists.shelf)

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


def _tell_what_re_ranking_can(state: State) -> None:
    """What a head that re-ranks could find at most."""
    shop, head = state.workshop, state.workshop.ranker.head
    if shop.ranker.first_stage is None:
        return
    first = shop.ranker.first_stage(state.inputs.world.as_of)
    ceiling = shop.evaluation.recall(first, f"first stage {head.first_stage}", head.rerank)
    stage = {"name": head.first_stage, "rerank": head.rerank, "recall": ceiling}
    state.manifest.first_stage = stage
    log.info(
        "re-ranking the best %(rerank)d of %(name)s, whose recall is %(recall).4f: no more can be "
        "found",
        stage,
    )
