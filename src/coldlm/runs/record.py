"""What a run leaves in its folder: the log, the tables, the weights, the manifest."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from coldlm.core import ranks
from coldlm.core.columns import (
    CANARIES,
    CHANCE,
    HEADLINE_K,
    K_SHOT_COLUMNS,
    LIST_K,
    METRICS,
    MODEL,
    RESULT_COLUMNS,
    SIMULATED_COLD,
    metric_key,
)
from coldlm.core.errors import RunFolderError
from coldlm.core.files import write_file, write_json
from coldlm.evaluate.summary import count_cohorts, per_user, summarise
from coldlm.models.rankers.ranker import Model
from coldlm.report.statistics import difference
from coldlm.runs.identity import axes
from coldlm.runs.process import peak_memory_mb

log = logging.getLogger("coldlm")

SCHEDULES = {"evaluate": "test", "online": "online"}
"""Stage -> first part of its metric keys and ``stage`` column of its results."""


class Record:
    """The files of one run. Only the first rank writes.

    Args:
        manifest: what will be ``manifest.json``; the run adds to it.
    """

    def __init__(
        self, folder: Path, config: Mapping[str, Any], name: str, manifest: dict[str, Any], *, is_main: bool
    ) -> None:
        self.folder, self.name, self.manifest, self.is_main = folder, name, manifest, is_main
        self.axes = axes(config)
        self.k: int = config["evaluate"]["k"]
        self.has_lists = self.axes["candidates"] == "impression"
        self.is_simulated = self.axes["split"].startswith(SIMULATED_COLD)
        self.ks = sorted({self.k, HEADLINE_K} | ({LIST_K} if self.has_lists else set()))
        self.seed: int = config["seed"]
        self.loggers: list[Any] = []

    def write_events(self, stage: str, frame: pl.DataFrame) -> None:
        """Add a stage's rows to ``events.parquet`` and derive every other table from it anew."""
        file = self.folder / "events.parquet"
        frame = frame.insert_column(1, pl.lit(SCHEDULES[stage]).alias("stage"))
        if file.is_file():
            old = pl.read_parquet(file).filter(pl.col("stage") != SCHEDULES[stage])
            frame = pl.concat([old, frame])
        self.write_frame("events.parquet", frame)
        results, users, cohorts = [], [], None
        for (part, scorer, schedule), rows in frame.group_by("stage", "scorer", "schedule", maintain_order=True):
            values = pl.concat(summarise(rows, k) for k in self.ks).unique(maintain_order=True)
            results.append(self._label(values, str(part), str(scorer), str(schedule)))
            users.append(
                pl.concat(per_user(rows, k) for k in self.ks)
                .unique(maintain_order=True)
                .select(
                    pl.lit(self.name).alias("run"),
                    *(pl.lit(self.axes[axis]).alias(axis) for axis in ("control", "strategy")),
                    pl.lit(scorer).alias("scorer"),
                    pl.lit(schedule).alias("schedule"),
                    pl.all(),
                )
            )
            if scorer == MODEL:
                cohorts = count_cohorts(rows)
                self.manifest["question"] = _digest(rows)
                self._log_metrics(str(part) if schedule != "static" else "static", values)
        self.manifest["cohorts"] = cohorts
        self.manifest["canaries"] = canaries(frame, HEADLINE_K)
        table = pl.concat(results)
        if self.manifest["dataset"]["release"] == "after_first" and not (self.has_lists or self.is_simulated):
            # an item without a positive is a candidate only if somebody disliked it: no fresh item can be asked for
            table = table.filter(pl.col("bucket") != "item:0")
        self.write_frame("results.parquet", table)
        self.write_frame("per_user.parquet", pl.concat(users))

    def write_k_shot(self, values: pl.DataFrame, updates: pl.DataFrame, about: Mapping[str, Any]) -> None:
        """The k-shot stage's tables and what the manifest says of it; without anything to ask there are no tables."""
        self.manifest["k_shot"] = dict(about)
        if values.height:
            labelled = values.with_columns(pl.lit(value).alias(key) for key, value in self._labels().items())
            self.write_frame("k_shot.parquet", labelled.select(K_SHOT_COLUMNS))
            self.write_frame("k_shot_updates.parquet", updates)

    def write_classification(self, rows: pl.DataFrame, about: Mapping[str, Any]) -> None:
        """``classification.parquet``, a row per class, and what the manifest says."""
        self.manifest["classification"] = dict(about)
        labels = self._labels() | {"negatives": about["negatives"], "threshold": about["threshold"]}
        frame = rows.with_columns(pl.lit(value).alias(key) for key, value in labels.items())
        self.write_frame("classification.parquet", frame)

    def _label(self, values: pl.DataFrame, stage: str, scorer: str, schedule: str) -> pl.DataFrame:
        labels = self._labels() | {"scorer": scorer, "stage": stage, "schedule": schedule}
        return values.with_columns(pl.lit(value).alias(key) for key, value in labels.items()).select(RESULT_COLUMNS)

    def _labels(self) -> dict[str, Any]:
        """What is the same on all rows of this run's tables."""
        labels: dict[str, Any] = {key: value for key, value in self.axes.items() if key in RESULT_COLUMNS}
        return labels | {"run": self.name, "seed": self.seed, "config_hash": self.manifest["config_hash"]}

    def _log_metrics(self, stage: str, values: pl.DataFrame) -> None:
        """Cohort values under ``{stage}/{cohort}/{metric}@{k}``, warm-up buckets under ``{stage}/{bucket}/...``."""
        whole = values.filter((pl.col("window") == -1) & (pl.col("average") == "macro"))
        metrics = {
            metric_key(stage, row["cohort"] if row["bucket"] == "all" else row["bucket"], row["metric"], row["k"]): row[
                "value"
            ]
            for row in whole.iter_rows(named=True)
        }
        for logger in self.loggers:
            logger.log_metrics(metrics)
            logger.save()

    def write_frame(self, name: str, frame: pl.DataFrame) -> None:
        """Write a table atomically."""
        if self.is_main:
            write_file(self.folder / name, frame.write_parquet)

    def save_model(self, name: str, ranker: Model) -> None:
        """Trainable weights only, as safetensors, and what they belong to as JSON."""
        if self.is_main:
            state = {key: tensor.cpu().contiguous() for key, tensor in ranker.trainable().items()}
            file = self.folder / f"{name}.safetensors"
            write_file(file, lambda part: save_file(state, part))
            about = {key: self.manifest[key] for key in ("run", "config_hash", "axes", "checkpoint")}
            tensors = {key: list(tensor.shape) for key, tensor in state.items()}
            write_json(self.folder / f"{name}.json", about | {"tensors": tensors})
            self.manifest["checkpoint_bytes"] = file.stat().st_size
        if ranks.in_group():
            torch.distributed.barrier()  # the other ranks read the file next

    def save(self) -> None:
        """Write the manifest."""
        if self.is_main:
            write_json(self.folder / "manifest.json", self.manifest)

    def end(self, status: str, reason: str | None = None) -> None:
        """Write how the run ended, and why."""
        self.manifest |= {"status": status, "reason": reason, "peak_memory_mb": peak_memory_mb()}
        self.save()
        log.info("%s: %s", self.folder, status)
        log.debug("%s", reason)  # the terminal gets it as the command's last word


def canaries(events: pl.DataFrame, k: int) -> dict[str, dict[str, float]]:
    """nDCG@k at n = 0 of the scorers that find a leaking release rule, macro: ``value``, and the 95 % interval ``low``,
    ``high`` of its distance to chance (the constant scorer) over users. Empty where nothing was asked at n = 0.

    Args:
        events: rows of ``events.parquet``.
    """
    return from_chance(events.filter(pl.col("n_item") == 0), k)


def from_chance(events: pl.DataFrame, k: int) -> dict[str, dict[str, float]]:
    """The canaries' nDCG@k and its distance to chance, as in ``canaries``, over all of ``events``."""
    users = {
        name: per_user(rows, k).filter(cohort="all", metric=METRICS[0]).sort("user")["value"].to_numpy()
        for name in (*CANARIES, CHANCE)
        if len(rows := events.filter(scorer=name))
    }
    if CHANCE not in users:
        return {}
    found = {}
    for name, values in users.items():
        apart = difference(values, users[CHANCE])
        found[name] = {"value": float(values.mean()), "low": apart.low, "high": apart.high}
    return found


def _digest(rows: pl.DataFrame) -> str:
    """Of what was asked: who, which positive, when, and among how many candidates."""
    digest = hashlib.sha256()
    for name in ("event_id", "query", "user", "item", "time", "n_item", "n_user", "candidates"):
        digest.update(rows.sort("event_id", "query")[name].cast(pl.String).str.join("\n").item().encode())
    return digest.hexdigest()[:16]


@contextmanager
def logging_to(folder: Path | None) -> Iterator[None]:
    """Inside, what coldlm says goes to the terminal and to ``run.log``; other ranks than the first are silent."""
    handlers: list[logging.Handler] = []
    if folder is not None:
        handlers = [logging.StreamHandler(), logging.FileHandler(folder / "run.log", encoding="utf-8")]
        handlers[0].setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def read_config(folder: Path) -> dict[str, Any]:
    """The resolved configuration of a run folder.

    Raises:
        RunFolderError: it is missing or damaged, or was written by a version with other keys.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    from coldlm.config.check import missing_keys, problems

    file = folder / "config.resolved.yaml"
    try:
        config = OmegaConf.to_container(OmegaConf.load(file))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise RunFolderError(f"{file} cannot be read ({_first_line(error)}): {_ANEW}") from error
    if not isinstance(config, dict):
        raise RunFolderError(f"{file} holds no configuration: {_ANEW}")
    named = {str(key): value for key, value in config.items()}
    if unknown := [*missing_keys(named), *problems(named)]:
        raise RunFolderError(
            f"{folder} was made by another version of coldlm, whose configuration differs: {'; '.join(unknown[:3])}"
            + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
            + f". {_ANEW[0].upper()}{_ANEW[1:]}"
        )
    return named


def read_weights(file: Path, ranker: Model) -> None:
    """Put the trained weights that a run left in ``file`` into ``ranker``, the model of its configuration.

    Raises:
        RunFolderError: the file is damaged, or holds the weights of another model.
    """
    try:
        state = load_file(file)
        if broken := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
            raise ValueError(f"{broken[0]} holds numbers that are not finite")
        ranker.restore(state)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunFolderError(f"{file} holds no weights of this run's model ({_first_line(error)}): {_ANEW}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error.args[0] if isinstance(error, KeyError) else error).splitlines()), type(error).__name__)


_ANEW = "run it again with this version, into a new output=..."
