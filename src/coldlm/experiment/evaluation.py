"""Scoring the queries of one world and what is told of it, as a configuration says."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch

from coldlm.asof.context import AsOf
from coldlm.config.schema import RunConfig
from coldlm.core.columns import LATE_TEXTS, MODEL
from coldlm.core.progress import listed, progress
from coldlm.core.tables import STREAM, Floats, Ints, Queries
from coldlm.evaluate.calibration import calibration
from coldlm.evaluate.classify import THRESHOLD, area, labelled_pairs, report
from coldlm.evaluate.judge import Judged, ScoreFunction, Views, judge, measure
from coldlm.evaluate.metrics import HEADLINE
from coldlm.evaluate.positives import tabulate
from coldlm.evaluate.ranking_metric import RankingMetric
from coldlm.evaluate.summary import summarise
from coldlm.experiment.world import World
from coldlm.models.rankers.pairwise import PairSnapshot
from coldlm.split.leaks import meter
from coldlm.split.queries import others_would_drop

log = logging.getLogger("coldlm")


class Evaluation:
    """Everything that stays the same between the scorings of one run.

    Args:
        run: its name, first column of every row.
    """

    def __init__(self, config: RunConfig, world: World, run: str) -> None:
        self._world, self._run = world, run
        self._k: int = config.evaluate.k
        self._seed: int = config.seed
        self._requests: int = config.evaluate.latency_requests
        self._views = Views(world.as_of.counts, config.evaluate.shelf)

    def measure(self, scorer: ScoreFunction, name: str) -> float:
        """Return the macro nDCG@k of a scorer on validation."""
        return self.measure_on(scorer, self._world.validation, name)

    def judge(
        self, scorer: ScoreFunction, queries: Queries, name: str, as_of: AsOf | None = None
    ) -> Judged:
        """Return every positive of ``queries`` ranked, with a progress bar; ``as_of``: by whose counts
        views are cut, the world's by default."""
        world = self._world
        views = self._views if as_of is None else replace(self._views, counts=as_of.counts)
        with progress(f"scoring: {name}", len(queries)) as done:
            return judge(
                scorer, queries, world.data, world.catalogue, views, name=name, on_chunk=done
            )

    def judge_part(self, scorer: ScoreFunction, first: int, last: int, since: int) -> Judged:
        """Return every positive of the stream's queries ``since`` to ``last`` (excluded) ranked, laid
        out in chunks as from query ``first`` on."""
        world, queries = self._world, self._world.stream
        part = queries.slice(first, last)
        judged = judge(scorer, part, world.data, world.catalogue, self._views, name=MODEL)
        return judged.rows(slice(int(queries.start[since] - queries.start[first]), None))

    def measure_on(self, scorer: ScoreFunction, queries: Queries, name: str = MODEL) -> float:
        """Return the macro nDCG@k of a scorer on these queries, NaN if there are none."""
        world = self._world
        if not len(queries):
            return float("nan")
        metric = RankingMetric(HEADLINE, self._k, len(world.data.users))
        return measure(scorer, queries, world.data, world.catalogue, metric, name=name)

    def judge_stream(self, scorer: ScoreFunction, name: str) -> Judged:
        """Return every positive of the stream ranked."""
        begin = time.perf_counter()
        judged = self.judge(scorer, self._world.stream, name)
        log.info(
            "scored %d queries: %s (%.1f s)",
            len(self._world.stream),
            name,
            time.perf_counter() - begin,
        )
        return judged

    def tabulate(
        self,
        judged: Judged,
        name: str,
        schedule: str,
        version: Ints | None = None,
        live_from: Ints | None = None,
        latency: Floats | None = None,
        part: tuple[int, int] | None = None,
        queries: Queries | None = None,
    ) -> pl.DataFrame:
        """Return the rows of ``events.parquet`` for the whole stream.

        Args:
            queries: others than the stream's.
            part: (first, last) of the stream's queries, of which the others are given; its number
                of a query is then the part's own.
            version, live_from, latency: [P] of the model that scored each positive, since when it
                was live, and the seconds that it took to be; by default the one trained before the
                stream.
        """
        world = self._world
        queries = world.stream if queries is None else queries
        queries = queries if part is None else queries.slice(*part)
        n = len(queries.event)
        frame = tabulate(
            judged,
            queries,
            world.data,
            world.catalogue,
            world.as_of,
            world.cold_users,
            world.cold_items,
            version=np.zeros(n, np.int64) if version is None else version,
            live_from=np.full(n, world.split.edges[0]) if live_from is None else live_from,
            latency=np.zeros(n) if latency is None else latency,
            seen_query=world.seen_query,
        )
        labels = {"run": self._run, "scorer": name, "schedule": schedule}
        return frame.select(
            [*(pl.lit(value).alias(key) for key, value in labels.items()), pl.all()]
        )

    def recall(self, scorer: ScoreFunction, name: str, k: int) -> float:
        """Return the macro recall@k of a scorer on the stream: what a re-ranking of its best k cannot
        exceed."""
        events = self.tabulate(self.judge_stream(scorer, name), name, "history")
        values = summarise(events, k, by_window=False, by_bucket=False)
        return float(values.filter(cohort="all", average="macro", metric="recall")["value"].item())

    def classify(self, scorer: PairSnapshot, rows: Ints) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Return the classification report of the stream: a row per class, and what the manifest
        says of it.

        Args:
            rows: [E] of the stream's events, of any label, whose item was a candidate.
        """
        world = self._world
        users, items, times, negatives = labelled_pairs(
            world.stream, rows, world.data, world.catalogue
        )
        probability = torch.sigmoid(scorer.classify(users, items, times)).double().numpy()
        taken = np.arange(len(users)) < len(np.unique(world.stream.event))
        found, auc = report(probability, taken), area(probability, taken)
        fit = calibration(probability, taken)
        said = "as a classifier against %s: AUC %.3f, log-loss %.3f, ECE %.3f"
        log.info(said, negatives, auc, fit.log_loss, fit.ece)
        for row in found.iter_rows(named=True):
            log.info("  at a probability of %.1f, %s", THRESHOLD, listed(row))
        return found, {
            "threshold": THRESHOLD,
            "negatives": negatives,
            "auc": auc,
            "calibration": fit.plain(),
            "classes": found.to_dicts(),
        }

    def time_requests(self, scorer: ScoreFunction) -> dict[str, float]:
        """Return the median and 95th percentile of one request against the whole catalogue, in ms."""
        queries, times = self._world.stream, []
        for q in np.linspace(0, len(queries) - 1, self._requests).astype(int):
            begin = time.perf_counter()
            one = queries.slice(q, q + 1)
            scorer(self._world.data.who_asks(one), one.time)
            times.append(1000 * (time.perf_counter() - begin))
        return (
            {"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95))}
            if times
            else {}
        )

    def meter_leaks(self, trained: Ints) -> dict[str, Any]:
        """Return what the manifest says of leaks and of dropped events.

        Args:
            trained: [E] rows of the log that the model learns from before the stream.
        """
        world, queries = self._world, self._world.stream
        leaks = meter(
            world.data, world.split, queries, trained, world.as_of, world.catalogue, seed=self._seed
        )
        dropped, others = self.count_dropped()
        share = 100 * others["any"] / others["of"]
        undated = "" if LATE_TEXTS in leaks else ", late texts not checkable: they have no date"
        log.info("leak meter: %s%s; dropped positives: %d", listed(leaks), undated, dropped)
        log.info(
            "the usual evaluators would drop %d (%.0f %%) of the same positives",
            others["any"],
            share,
        )
        return {"leaks": leaks, "dropped": dropped, "others_would_drop": others}

    def count_dropped(self) -> tuple[int, dict[str, int]]:
        """Return the stream's positives that are neither asked nor counted under a reason, and how many
        other evaluators would have dropped."""
        world, queries = self._world, self._world.stream
        n_user = world.as_of.n_user(queries.user, queries.time)
        dropped = int(world.data.log.positive[world.split.rows(STREAM)].sum())
        dropped -= len(np.unique(queries.event)) + sum(queries.counts.values())
        others = others_would_drop(
            queries, world.data.log, world.cold_users, world.cold_items, n_user
        )
        return dropped, others
