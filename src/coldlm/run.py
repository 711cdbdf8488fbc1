"""One run: train, evaluate, online, and the files it leaves. The wiring between config and science."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file, save_file

from coldlm import manifest as m
from coldlm.columns import METRICS, MODEL, RESULT_COLUMNS, metric_key
from coldlm.config import build
from coldlm.errors import ConfigError, DataError, Diverged
from coldlm.evaluate import baselines
from coldlm.evaluate.judge import Judged, Scorer, concatenate, judge, measure
from coldlm.evaluate.metrics import RankingMetric
from coldlm.evaluate.summary import count_cohorts, per_user, summarise, tabulate
from coldlm.learn import loggers as learn_loggers
from coldlm.learn.batches import Batches, Recipe
from coldlm.learn.fit import Budget, Fitted, Machine, fit
from coldlm.models.backbone import Backbone
from coldlm.online import loop
from coldlm.split.leaks import meter
from coldlm.split.queries import others_would_drop, trainable
from coldlm.tables import Ints, Queries
from coldlm.world import make_ranker, make_world, standardise, take_snapshot

log = logging.getLogger("coldlm")

SCHEDULES = {"evaluate": "test", "online": "online"}
"""Stage -> first part of its metric keys and ``stage`` column of its results."""


def execute(config: dict[str, Any], name: str) -> Path:
    """Carry out the stages of a checked configuration in its run folder.

    A finished run is left alone, an unfinished one goes on behind its last finished stage.

    Returns:
        The run folder.

    Raises:
        RunFolderError: the folder holds a run of another configuration.
        ColdlmError: see the stages; the manifest then says FAILED or DIVERGED, and why.
    """
    folder = Path(config["output"]) / name
    is_main = int(os.environ.get("LOCAL_RANK", "0")) == 0
    manifest = m.open_run(folder, config)
    stages = [stage for stage in config["stages"] if stage not in manifest["done"]]
    if config["online"]["schedule"] == "off":
        stages = [stage for stage in stages if stage != "online"]
    if manifest["status"] == "FINISHED" and not stages:
        print(f"{folder} is finished already: nothing to do")
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with _logging_to(folder if is_main else None):
        run = Run(config, name, folder, manifest, is_main)
        run.carry_out(stages)
    return folder


class Run:
    """The state of one run while it is carried out."""

    def __init__(
        self, config: dict[str, Any], name: str, folder: Path, manifest: dict[str, Any], is_main: bool
    ) -> None:
        self.config, self.name, self.folder, self.manifest, self.is_main = config, name, folder, manifest, is_main
        self.axes = m.axes(config)
        self.k: int = config["evaluate"]["k"]
        self.seed: int = config["seed"]
        self.loggers: list[Any] = []
        self._snapshot: Snapshot | None = None
        trainer = config["trainer"]
        self.machine = Machine(trainer["accelerator"], trainer["precision"], trainer["devices"])

    def carry_out(self, stages: list[str]) -> None:
        """Do the stages in order; whatever happens, the manifest says how it ended and the loggers are closed."""
        self._start()
        failed = True
        try:
            self.loggers = build(self.config["logger"], self.folder, self.name, self.config, self.axes)
            if not self.is_main:
                self.loggers = []
            self._prepare()
            for stage in stages:
                log.info("stage %s", stage)
                {"train": self.train, "evaluate": self.evaluate, "online": self.online}[stage]()
                self.manifest["done"].append(stage)
                self._save()
            self._end("FINISHED")
            failed = False
        except Diverged as error:
            self._end("DIVERGED", str(error))
            raise
        except BaseException as error:
            self._end("FAILED", f"{type(error).__name__}: {error}")
            log.debug(traceback.format_exc())
            raise
        finally:
            learn_loggers.close(self.loggers, failed=failed)

    # --- stages ---------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Stop on validation, then refit on train + validation with what was chosen; save what trained."""
        world, config = self.world, self.config
        self._snapshot = None
        start = {name: tensor.clone() for name, tensor in self.ranker.trainable().items()}
        vectors = self.ranker.encoder.all_items() if self.ranker.head.uses_text else None
        standardise(self.ranker, vectors, world.entered_by(world.split.t_val))
        fitted = self._fit(self._rows(0, world.split.n_train), "train", validate=self._validate)
        log.info("validation nDCG@%d by epoch: %s", self.k, ", ".join(f"{v:.4f}" for v in fitted.values))
        seconds = {"train": fitted.seconds}
        if config["split"]["refit"]:
            self.ranker.restore(start)
            standardise(self.ranker, vectors, world.entered_by(world.split.t_test))
            log.info("refit on train + validation for %d epochs", fitted.epochs)
            again = self._fit(self._rows(0, world.split.n_past), "refit", epochs=fitted.epochs)
            seconds["refit"] = again.seconds
        self.manifest |= {
            "validation": {f"ndcg@{self.k}": fitted.values, "best_epoch": fitted.epochs},
            "refit": config["split"]["refit"],
            "events_per_second": fitted.examples / max(fitted.seconds, 1e-9),
            "trainable_parameters": sum(p.numel() for p in self.ranker.parameters() if p.requires_grad),
            "total_parameters": sum(p.numel() for p in self.ranker.parameters()),
        }
        self.manifest["seconds"] |= seconds
        self._save_model("model")

    def evaluate(self) -> None:
        """Score the stream with frozen weights: histories grow ("history"), or stop at T_test too ("frozen"); and the
        baselines, by the same code."""
        begin = time.perf_counter()
        world, parts = self.world, []
        scorer = self._trained()
        parts.append(self._score(scorer, MODEL, "history"))
        self.manifest["latency_ms"] = self._time_requests(scorer)
        past = scorer.remembering(world.memory_until(world.split.n_past))
        parts.append(self._score(past, MODEL, "frozen"))
        if self.config["control"]["name"] == "none":
            for name, baseline in self._baselines().items():
                parts.append(self._score(baseline, name, "history"))
        self.manifest["seconds"]["evaluate"] = time.perf_counter() - begin
        self._meter_leaks()
        self._write_events("evaluate", pl.concat(parts))

    def online(self) -> None:
        """Score each window, then fine-tune on it."""
        begin = time.perf_counter()
        world, config = self.world, self.config["online"]
        edges = np.searchsorted(world.data.log.time, world.split.edges)
        rows = [self._rows(int(edges[w]), int(edges[w + 1])) for w in range(world.split.n_windows)]
        judged, updates = loop.run(
            self.ranker,
            world.stream,
            world.split.n_windows,
            first=self._trained(),
            snapshot=lambda: take_snapshot(self.ranker, world),
            judge=lambda scorer, queries: self._judge(scorer, queries, MODEL),
            update=lambda w: self._fit(
                rows[w], f"update {w + 1}", epochs=config["epochs"], lr_factor=config["lr_factor"]
            ),
            probe=lambda w: self._probe(rows[w]),
            peak_memory_mb=m.peak_memory_mb,
        )
        versions = np.cumsum([0, *(not update.rolled_back for update in updates)])
        live_from = world.split.edges[np.searchsorted(versions, versions)]
        for update in updates:
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
        self.manifest["seconds"]["online"] = time.perf_counter() - begin
        if updates:
            self.manifest["seconds_per_update"] = float(np.mean([update.seconds for update in updates]))
        self._save_model("online")
        self._write_frame("updates.parquet", pl.DataFrame([update.row() for update in updates]))
        window = np.repeat(world.stream.window, np.diff(world.stream.start))
        frame = self._tabulate(
            concatenate(judged), world.stream, MODEL, "per_window", versions[window], live_from[window]
        )
        self._write_events("online", frame)

    # --- preparing ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1" if os.environ.get("COLDLM_ALLOW_DOWNLOAD") != "1" else "0")
        if threads := self.config["trainer"]["threads"]:
            torch.set_num_threads(threads)
        if port := self.config["trainer"]["port"]:
            os.environ.setdefault("MASTER_PORT", str(port))
        m.reset_peak_memory()
        self.manifest |= {"status": "RUNNING", "reason": None, "run": self.name, "axes": self.axes}
        self.manifest |= m.describe_machine()
        self.manifest.setdefault("seconds", {})
        if self.is_main:
            from omegaconf import OmegaConf

            text = OmegaConf.to_yaml(OmegaConf.create(self.config))
            m.write_file(self.folder / "config.resolved.yaml", lambda part: part.write_text(text, encoding="utf-8"))
        self._save()

    def _prepare(self) -> None:
        """Read, cut, print what a reader must know before any number, and make the model."""
        begin = time.perf_counter()
        world = self.world = make_world(self.config)
        data, split = world.data, world.split
        for part, queries in (("validation", world.validation), ("stream", world.stream)):
            if not len(queries):
                raise DataError(
                    f"{data.name}: the {part} part holds no positive that can be asked; see dataset.positive"
                )
        dates = {key: str(np.datetime64(int(t), "s")) for key, t in (("t_val", split.t_val), ("t_test", split.t_test))}
        windows = [str(np.datetime64(int(t), "s")) for t in split.edges]
        log.info(
            "%s: %d users, %d items, %d events (%d positive); train < %s <= validation < %s <= stream",
            data.name,
            len(data.users),
            len(data.items),
            len(data.log),
            int(data.log.positive.sum()),
            dates["t_val"],
            dates["t_test"],
        )
        policies = {name: count for name, count in data.counts.items() if count}
        log.info("policies: %s", policies or "none applied")
        log.info(
            "windows start at %s; %d queries, %d positives; not asked: %s",
            ", ".join(date[:10] for date in windows[:-1]),
            len(world.stream),
            len(world.stream.event),
            {reason: count for reason, count in world.stream.counts.items() if count} or "none",
        )
        self.ranker = make_ranker(self.config, world)
        if self.machine.accelerator == "gpu":
            self.ranker.to("cuda")
        backbone = getattr(self.ranker.encoder, "body", None)
        released = backbone.released if isinstance(backbone, Backbone) else None
        self.manifest |= {
            "dataset": {
                "name": data.name,
                "domain": data.domain,
                "hashes": data.hashes,
                "counts": data.counts,
                "dates": dates | {"windows": windows},
                "n_users": len(data.users),
                "n_items": len(data.items),
                "n_events": len(data.log),
            },
            "checkpoint": {
                "name": self.axes["backbone"],
                "date": released,
                "newer_than_t_test": released is not None and released > dates["t_test"][:7],
            },
            "not_asked": world.stream.counts,
        }
        self.manifest["seconds"]["prepare"] = time.perf_counter() - begin

    def _rows(self, first: int, last: int) -> Ints:
        return trainable(self.world.data.log, self.world.catalogue, first, last)

    # --- training -------------------------------------------------------------------------------------------------

    def _batches(self, rows: Ints, epoch: int) -> Batches:
        head, train = self.ranker.head, self.config["train"]
        recipe = Recipe(
            batch_size=train["batch_size"],
            session=train["session"],
            history=head.history,
            pseudo_query=head.pseudo_query,
            uses_text=head.uses_text,
            uses_context=head.uses_context,
            seed=self.seed,
        )
        world, share = self.world, (int(os.environ.get("LOCAL_RANK", "0")), self.machine.world)
        return Batches(world.data, world.catalogue, world.as_of, rows, self._loss(), recipe, epoch=epoch, share=share)

    def _fit(
        self,
        rows: Ints,
        part: str,
        *,
        epochs: int | None = None,
        lr_factor: float = 1.0,
        validate: Callable[[], float] | None = None,
    ) -> Fitted:
        train, node = self.config["train"], dict(self.config["optim"])
        for key in ("lr", "body_lr"):
            node[key] *= lr_factor
        budget = Budget(
            epochs=epochs or train["epochs"],
            max_steps=train["max_steps"],
            patience=train["patience"],
            accumulate=train["accumulate"],
            clip=train["clip"],
            warmup=train["warmup"],
        )
        return fit(
            self.ranker,
            self._loss(),
            lambda epoch: self._batches(rows, epoch),
            lambda named: build(node, named),
            budget,
            self.machine,
            seed=self.seed,
            name=part,
            loggers=self.loggers,
            validate=validate,
        )

    def _loss(self) -> Any:
        return build(self.config["loss"])

    @torch.no_grad()
    def _probe(self, rows: Ints) -> float:
        """Mean loss of the first batch of ``rows``, without training."""
        batches = self._batches(rows, 0)
        if not len(batches):
            return float("nan")
        batch = batches[0].to(next(self.ranker.parameters()).device)
        self.ranker.eval()
        return float(self._loss()(self.ranker(batch), batch.log_weight, batch.positive, batch.label).mean())

    def _validate(self) -> float:
        return self._measure(take_snapshot(self.ranker, self.world), MODEL)

    def _measure(self, scorer: Scorer, name: str) -> float:
        """Macro nDCG@k of a scorer on validation."""
        world = self.world
        metric = RankingMetric("ndcg", self.k, len(world.data.users))
        return measure(scorer, world.validation, world.data.log, world.catalogue, world.data.items, metric, name=name)

    # --- judging --------------------------------------------------------------------------------------------------

    def _baselines(self) -> dict[str, Scorer]:
        """The mandatory baselines; recent popularity's half-life is chosen on validation."""
        world, seed, head = self.world, self.seed, self.ranker.head
        data, as_of, catalogue = world.data, world.as_of, world.catalogue
        recent = [baselines.recent_popularity(as_of, h) for h in range(3)]
        best = int(np.argmax([self._measure(scorer, f"recent_popularity {h}") for h, scorer in enumerate(recent)]))
        self.manifest["recent_popularity_half_life_days"] = data.half_lives_days[best]
        scorers = {
            "random": baselines.random(seed, len(data.items)),
            "constant": baselines.constant(len(data.items)),
            "popularity": baselines.popularity(as_of),
            "recent_popularity": recent[best],
            "newest": baselines.newest(catalogue),
            "fewest_events": baselines.fewest_events(as_of),
            "tfidf": baselines.tfidf(data, catalogue, as_of, head.history, world.split.t_test),
            "zero_shot": self._zero_shot(),
        }
        if data.repeats:
            scorers["own_repeats"] = baselines.own_repeats(as_of, data)
        return scorers

    def _zero_shot(self) -> Scorer:
        """Cosine of the untouched backbone: built anew, since the run's own has been trained."""
        world, config = self.world, self.config
        frozen = config | {"strategy": {"_target_": "coldlm.models.strategy.frozen"}}
        encoder = make_ranker(frozen, world).encoder
        texts = world.data.users.texts
        profiles = torch.zeros(len(texts), encoder.width)
        with_text = [user for user, text in enumerate(texts) if text]
        if with_text:
            with torch.no_grad():
                profiles[with_text] = encoder.texts([texts[user] for user in with_text])
        known = world.entered_by(world.split.t_test)
        return baselines.zero_shot(encoder.all_items(), profiles, known, world.as_of, self.ranker.head.history)

    def _judge(self, scorer: Scorer, queries: Queries, name: str) -> Judged:
        world = self.world
        return judge(scorer, queries, world.data.log, world.catalogue, world.data.items, name=name)

    def _score(self, scorer: Scorer, name: str, schedule: str) -> pl.DataFrame:
        begin = time.perf_counter()
        queries = self.world.stream
        judged = self._judge(scorer, queries, name)
        log.info("scored %d queries: %s, %s (%.1f s)", len(queries), name, schedule, time.perf_counter() - begin)
        n, t_test = len(queries.event), self.world.split.t_test
        return self._tabulate(judged, queries, name, schedule, np.zeros(n, np.int64), np.full(n, t_test))

    def _tabulate(
        self, judged: Judged, queries: Queries, name: str, schedule: str, version: Ints, live_from: Ints
    ) -> pl.DataFrame:
        world = self.world
        frame = tabulate(
            judged,
            queries,
            world.data,
            world.catalogue,
            world.as_of,
            world.cold_users,
            world.cold_items,
            version=version,
            live_from=live_from,
        )
        labels = {"run": self.name, "scorer": name, "schedule": schedule}
        return frame.select([*(pl.lit(value).alias(key) for key, value in labels.items()), pl.all()])

    def _time_requests(self, scorer: Scorer) -> dict[str, float]:
        """Median and 95th percentile of one request against the whole catalogue, in ms."""
        n = self.config["evaluate"]["latency_requests"]
        queries, times = self.world.stream, []
        for q in np.linspace(0, len(queries) - 1, n).astype(int):
            begin = time.perf_counter()
            scorer(queries.user[q : q + 1], queries.time[q : q + 1])
            times.append(1000 * (time.perf_counter() - begin))
        return {"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95))} if times else {}

    def _meter_leaks(self) -> None:
        world = self.world
        trained = self._rows(0, world.split.n_past)
        queries = world.stream
        leaks = meter(world.data, world.split, queries, trained, world.as_of, world.catalogue, seed=self.seed)
        n_user = world.as_of.n_user(queries.user, queries.time)
        dropped = int(world.data.log.positive[world.split.n_past :].sum())
        dropped -= len(queries.event) + sum(queries.counts.values())
        others = others_would_drop(queries, world.data.log, world.cold_users, world.cold_items, n_user)
        self.manifest |= {"leaks": leaks, "dropped": dropped, "others_would_drop": others}
        share = 100 * others["any"] / others["of"]
        log.info("leak meter: %s; dropped positives: %d", leaks, dropped)
        log.info("the usual evaluators would drop %d (%.0f %%) of the same positives", others["any"], share)

    # --- writing --------------------------------------------------------------------------------------------------

    def _write_events(self, stage: str, frame: pl.DataFrame) -> None:
        """Add a stage's rows to ``events.parquet`` and derive every other table from it anew."""
        file = self.folder / "events.parquet"
        frame = frame.insert_column(1, pl.lit(SCHEDULES[stage]).alias("stage"))
        if file.is_file():
            old = pl.read_parquet(file).filter(pl.col("stage") != SCHEDULES[stage])
            frame = pl.concat([old, frame])
        self._write_frame("events.parquet", frame)
        results, users, cohorts = [], [], None
        for (part, scorer, schedule), rows in frame.group_by("stage", "scorer", "schedule", maintain_order=True):
            values = summarise(rows, self.k)
            results.append(self._label(values, str(part), str(scorer), str(schedule)))
            users.append(
                per_user(rows, self.k).select(
                    pl.lit(self.name).alias("run"),
                    *(pl.lit(self.axes[axis]).alias(axis) for axis in ("control", "strategy")),
                    pl.lit(scorer).alias("scorer"),
                    pl.lit(schedule).alias("schedule"),
                    pl.all(),
                )
            )
            if scorer == MODEL:
                cohorts = count_cohorts(rows)
                self._log_metrics(str(part) if schedule != "frozen" else "frozen", values)
        table = pl.concat(results)
        self.manifest["cohorts"] = cohorts
        self.manifest["canaries"] = self._canaries(table)
        self._write_frame("results.parquet", table)
        self._write_frame("per_user.parquet", pl.concat(users))

    def _label(self, values: pl.DataFrame, stage: str, scorer: str, schedule: str) -> pl.DataFrame:
        labels: dict[str, Any] = {key: value for key, value in self.axes.items() if key in RESULT_COLUMNS}
        labels |= {"run": self.name, "seed": self.seed, "scorer": scorer, "stage": stage, "schedule": schedule}
        labels["config_hash"] = self.manifest["config_hash"]
        return values.with_columns(pl.lit(value).alias(key) for key, value in labels.items()).select(RESULT_COLUMNS)

    def _canaries(self, results: pl.DataFrame) -> dict[str, float | None]:
        """nDCG@k at n = 0 of newest first and fewest events first, beside random: far above it means a leaking rule."""
        at_zero = results.filter(
            (pl.col("bucket") == "item:0") & (pl.col("average") == "macro") & (pl.col("metric") == METRICS[0])
        )
        found = {row["scorer"]: row["value"] for row in at_zero.iter_rows(named=True)}
        return {name: found.get(name) for name in ("newest", "fewest_events", "random")}

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

    def _write_frame(self, name: str, frame: pl.DataFrame) -> None:
        if self.is_main:
            m.write_file(self.folder / name, frame.write_parquet)

    def _save_model(self, name: str) -> None:
        """Trainable weights only, as safetensors, and what they belong to as JSON."""
        if not self.is_main:
            return
        state = {key: tensor.cpu().contiguous() for key, tensor in self.ranker.trainable().items()}
        file = self.folder / f"{name}.safetensors"
        m.write_file(file, lambda part: save_file(state, part))
        about = {key: self.manifest[key] for key in ("run", "config_hash", "axes", "checkpoint")}
        m.write_json(self.folder / f"{name}.json", about | {"tensors": {k: list(t.shape) for k, t in state.items()}})
        self.manifest["checkpoint_bytes"] = file.stat().st_size

    def _trained(self) -> Snapshot:
        """The weights that the train stage saved, as a scorer, and in ``ranker``; encoded once for all stages."""
        file = self.folder / "model.safetensors"
        if not file.is_file():
            raise ConfigError(f"there is no trained model in {self.folder}: add train to stages")
        self.ranker.restore(load_file(file))
        if self._snapshot is None:
            self._snapshot = take_snapshot(self.ranker, self.world)
        return self._snapshot

    def _save(self) -> None:
        if self.is_main:
            m.write_json(self.folder / "manifest.json", self.manifest)

    def _end(self, status: str, reason: str | None = None) -> None:
        self.manifest |= {"status": status, "reason": reason, "peak_memory_mb": m.peak_memory_mb()}
        self._save()
        log.info("%s: %s%s", self.folder, status, f" ({reason})" if reason else "")


@contextmanager
def _logging_to(folder: Path | None) -> Iterator[None]:
    """Inside, what coldlm says goes to the terminal and to ``run.log``; other ranks than the first are silent."""
    handlers: list[logging.Handler] = []
    if folder is not None:
        handlers = [logging.StreamHandler(), logging.FileHandler(folder / "run.log", encoding="utf-8")]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def read_config(folder: Path) -> Mapping[str, Any]:
    """The resolved configuration of a run folder."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.load(folder / "config.resolved.yaml"))  # type: ignore[return-value]
