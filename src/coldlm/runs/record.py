"""What a run leaves in its folder: the tables, the weights, the manifest."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, MutableMapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from coldlm.config.schema import RunConfig
from coldlm.core import ranks
from coldlm.core.columns import (
    HEADLINE_K,
    K_SHOT_COLUMNS,
    LIST_K,
    LIST_METRICS,
    MODEL,
    MRR_K,
    RESULT_COLUMNS,
    SIMULATED_COLD,
    USER_AUC,
    VIEWS,
    metric_key,
)
from coldlm.core.files import write_file, write_json
from coldlm.evaluate.canaries import canary_values
from coldlm.evaluate.metrics import HEADLINE, Formulas
from coldlm.evaluate.summary import count_cohorts, summaries
from coldlm.models.rankers.ranker import Model
from coldlm.report.canaries import from_chance
from coldlm.runs import identity
from coldlm.runs.manifest import NAME, Manifest
from coldlm.runs.process import peak_memory_mb
from coldlm.runs.track import Track, Value
from coldlm.runs.weights import save_weights

log = logging.getLogger("coldlm")

PARTS = {"evaluate": "test", "online": "online"}
"""Stage -> first part of its metric keys and ``stage`` column of its results."""

HEADLINE_METRICS = (
    *(HEADLINE, "recall", "mrr", USER_AUC),
    *(f"{HEADLINE}/{view}" for view in VIEWS),
    *LIST_METRICS,
)
"""Those of the report's headline, among all candidates and in the views: of every cohort they are told
to everybody."""

EVERYBODY = {"cohort": "all", "bucket": "all", "metric": HEADLINE, "k": HEADLINE_K}
"""The headline of the whole stream, whose mean over queries is told, too."""

Key = tuple[str, str, str]
"""Of rows of ``events.parquet``: part, scorer, schedule."""

Summary = tuple[pl.DataFrame, pl.DataFrame]
"""What ``results.parquet`` and ``per_user.parquet`` say of one scorer, whichever run it is of."""

ROW = ("scorer", "schedule", "event_id", "query")
"""Columns of ``events.parquet`` that name one row, whichever stage wrote it."""


class Record:
    """The files of one run. Only the first rank writes.

    Args:
        manifest: what will be ``manifest.json``; the run adds to it.
        formulas: of metrics besides coldlm's own.
        axes: what a sweep compares; by default what the configuration says.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        name: str,
        manifest: Manifest,
        *,
        is_main: bool,
        formulas: Formulas,
        axes: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.name, self.manifest, self.is_main = folder, name, manifest, is_main
        self.axes = identity.axes(config) if axes is None else dict(axes)
        self.k: int = config.evaluate.k
        self.has_lists = self.axes["candidates"] == "impression"
        self.is_simulated = self.axes["split"].startswith(SIMULATED_COLD)
        self.ks = sorted({self.k, HEADLINE_K} | ({LIST_K} if self.has_lists else set()))
        self.seed: int = config.seed
        self.track = Track()
        self.formulas = formulas
        self._tables: dict[Key, Summary] = {}

    def write_events(
        self, stage: str, frame: pl.DataFrame, known: MutableMapping[Key, Summary] | None = None
    ) -> None:
        """Add a stage's rows to ``events.parquet`` and derive every other table from it anew.

        Args:
            known: summaries of these very rows; those that it lacks are added.
        """
        known = {} if known is None else known
        file = self.folder / "events.parquet"
        frame = frame.insert_column(1, pl.lit(PARTS[stage]).alias("stage"))
        if file.is_file():
            old = pl.read_parquet(file).filter(pl.col("stage") != PARTS[stage])
            known = {}  # of other rows
            # frozen weights under growing histories are the same rows in either stage: they stand once
            frame = pl.concat([old, frame.join(old, on=ROW, how="anti", maintain_order="left")])
        self.write_frame("events.parquet", frame)
        results: list[pl.DataFrame] = []
        users: list[pl.DataFrame] = []
        cohorts = None
        for key, rows in _by_scorer(frame):
            part, scorer, schedule = key
            if part == PARTS[stage] or key not in self._tables:
                if key not in known:
                    known[key] = self._summarise(rows)
                self._tables[key] = self._labelled(known[key], *key)
            for kept, parts in zip(self._tables[key], (results, users), strict=True):
                parts.append(kept)
            if scorer == MODEL:
                cohorts = count_cohorts(rows)
                self.manifest.question = question_of(rows)
                if part == PARTS[stage]:
                    self.tell(_said_as(part, schedule), results[-1])
        self.manifest.cohorts = cohorts
        at_zero = frame.filter(pl.col("n_item") == 0)
        self.manifest.canaries = from_chance(canary_values(at_zero, HEADLINE_K))
        tables = {"results.parquet": pl.concat(results), "per_user.parquet": pl.concat(users)}
        if self.manifest.data.release == "after_first" and not (
            self.has_lists or self.is_simulated
        ):
            # an item without a positive is a candidate only if somebody disliked it: no fresh item
            # can be asked for
            can_be = pl.col("bucket") != "item:0"
            tables = {name: table.filter(can_be) for name, table in tables.items()}
        for name, table in tables.items():
            self.write_frame(name, table)

    def _summarise(self, rows: pl.DataFrame) -> Summary:
        values, users = (
            pl.concat(tables).unique(maintain_order=True)
            for tables in zip(*(summaries(rows, k, self.formulas) for k in self.ks), strict=True)
        )
        return values, users

    def _labelled(self, summary: Summary, stage: str, scorer: str, schedule: str) -> Summary:
        """A scorer's summary as rows of this run's tables."""
        values, users = summary
        labels = {
            "run": self.name,
            "control": self.axes["control"],
            "strategy": self.axes["strategy"],
            "scorer": scorer,
            "schedule": schedule,
        }
        labelled = users.select(*(pl.lit(v).alias(key) for key, v in labels.items()), pl.all())
        return self._label(values, stage, scorer, schedule), labelled

    def write_lists(self, rows: pl.DataFrame, said: Mapping[str, dict[str, float]]) -> None:
        """``lists.parquet``, and what the manifest says of the lists of each scorer."""
        self.manifest.shown = dict(said)
        labels = {"run": pl.lit(self.name), "seed": pl.lit(self.seed)}
        self.write_frame("lists.parquet", rows.with_columns(**labels))

    def write_stream(self, series: pl.DataFrame) -> None:
        """``stream.parquet``: quality over the stream (``evaluate.continual.stretch``)."""
        self.write_frame("stream.parquet", series.with_columns(run=pl.lit(self.name)))

    def write_k_shot(
        self, values: pl.DataFrame, updates: pl.DataFrame, about: Mapping[str, Any]
    ) -> None:
        """The k-shot stage's tables and what the manifest says of it; without anything to ask there
        are no tables."""
        self.manifest.k_shot = dict(about)
        if values.height:
            labelled = values.with_columns(
                pl.lit(value).alias(key) for key, value in self._labels().items()
            )
            self.write_frame("k_shot.parquet", labelled.select(K_SHOT_COLUMNS))
            self.write_frame("k_shot_updates.parquet", updates)

    def write_classification(self, rows: pl.DataFrame, about: Mapping[str, Any]) -> None:
        """``classification.parquet``, a row per class, and what the manifest says."""
        self.manifest.classification = dict(about)
        labels = self._labels() | {"negatives": about["negatives"], "threshold": about["threshold"]}
        frame = rows.with_columns(pl.lit(value).alias(key) for key, value in labels.items())
        self.write_frame("classification.parquet", frame)

    def _label(self, values: pl.DataFrame, stage: str, scorer: str, schedule: str) -> pl.DataFrame:
        labels = self._labels() | {"scorer": scorer, "stage": stage, "schedule": schedule}
        return values.with_columns(
            pl.lit(value).alias(key) for key, value in labels.items()
        ).select(RESULT_COLUMNS)

    def _labels(self) -> dict[str, Any]:
        """What is the same on all rows of this run's tables."""
        labels: dict[str, Any] = {
            key: value for key, value in self.axes.items() if key in RESULT_COLUMNS
        }
        return labels | {
            "run": self.name,
            "seed": self.seed,
            "config_hash": self.manifest.config_hash,
        }

    def tell(self, stage: str, values: pl.DataFrame) -> None:
        """Cohort values under ``{stage}/{cohort}/{metric}@{k}``, warm-up buckets under
        ``{stage}/{bucket}/...``; those of the headline's metrics in cohorts are told to everybody,
        the others stand in ``metrics.csv`` alone."""
        whole = values.filter((pl.col("window") == -1) & (pl.col("average") == "macro"))
        headline, others = dict[str, Value](), dict[str, Value]()
        named = {*HEADLINE_METRICS, *self.formulas}
        for row in whole.drop_nulls("value").iter_rows(named=True):
            is_cohort = row["bucket"] == "all"
            key = metric_key(
                stage, row["cohort"] if is_cohort else row["bucket"], row["metric"], row["k"]
            )
            is_told = is_cohort and row["metric"] in named and row["k"] in (MRR_K, HEADLINE_K)
            (headline if is_told else others)[key] = row["value"]
        for row in values.filter(average="micro", window=-1, **EVERYBODY).iter_rows(named=True):
            headline[metric_key(stage, "all", f"{HEADLINE}/micro", HEADLINE_K)] = row["value"]
        self.track.headline(headline, others)

    def tell_again(self) -> None:
        """Tell of the headline that ``results.parquet`` holds, whichever start of this run made it."""
        own = pl.read_parquet(self.folder / "results.parquet").filter(scorer=MODEL)
        for (part, schedule), rows in own.group_by("stage", "schedule", maintain_order=True):
            self.tell(_said_as(str(part), str(schedule)), rows)

    def write_frame(self, name: str, frame: pl.DataFrame) -> None:
        """Write a table atomically."""
        if self.is_main:
            write_file(self.folder / name, frame.write_parquet)

    def save_model(self, name: str, ranker: Model) -> None:
        """Write the trainable weights, and what they belong to."""
        if self.is_main:
            about = self.manifest.plain()
            belongs = {key: about[key] for key in ("run", "config_hash", "axes", "checkpoint")}
            self.manifest.checkpoint_bytes = save_weights(
                self.folder / f"{name}.safetensors", ranker, belongs
            )
        if ranks.in_group():
            torch.distributed.barrier()  # the other ranks read the file next

    def save(self) -> None:
        """Write the manifest."""
        if self.is_main:
            write_json(self.folder / NAME, self.manifest.plain())

    def end(self, status: str, reason: str | None = None) -> None:
        """Write how the run ended, and why."""
        self.manifest.status, self.manifest.reason = status, reason
        self.manifest.peak_memory_mb = max(peak_memory_mb(), self.manifest.peak_memory_mb or 0)
        self.save()
        log.info("%s: %s", self.folder, status)
        log.debug("%s", reason)  # the terminal gets it as the command's last word


def _by_scorer(frame: pl.DataFrame) -> Iterator[tuple[tuple[str, str, str], pl.DataFrame]]:
    """(stage, scorer, schedule) and its rows, which stand together: a view of them, not a copy."""
    labels = frame.select("stage", "scorer", "schedule")
    begins = labels.select(pl.struct(pl.all()).rle_id()).to_series()
    first = np.flatnonzero(begins.diff().fill_null(1).to_numpy())
    for begin, end in pairwise([*first.tolist(), frame.height]):
        stage, scorer, schedule = labels.row(begin)
        yield (stage, scorer, schedule), frame.slice(begin, end - begin)


def _said_as(part: str, schedule: str) -> str:
    """The first part of the keys of a schedule's headline."""
    return "static" if schedule == "static" else part


def question_of(rows: pl.DataFrame) -> str:
    """Return the digest of what was asked: who, which positive, when, and among how many candidates.

    Args:
        rows: of ``events.parquet``, of one scorer.
    """
    digest = hashlib.sha256()
    for name in ("event_id", "query", "user", "item", "time", "n_item", "n_user", "candidates"):
        digest.update(
            rows.sort("event_id", "query")[name].cast(pl.String).str.join("\n").item().encode()
        )
    return digest.hexdigest()[:16]
