"""One run: train, evaluate, online, and the files it leaves. The wiring between config and science."""

from __future__ import annotations

import logging
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from omegaconf import OmegaConf
from torch import Tensor

from coldlm.config.check import build
from coldlm.core import ranks
from coldlm.core.columns import MODEL
from coldlm.core.errors import ConfigError, Diverged, RunFolderError
from coldlm.core.files import write_file
from coldlm.core.tables import STREAM, TRAIN, VALIDATION, Ints
from coldlm.evaluate.judge import concatenate
from coldlm.experiment.baselines import judge_baselines
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.facts import describe, refuse_empty_parts
from coldlm.experiment.model import first_vectors, make_ranker, standardise, take_snapshot
from coldlm.experiment.stages import pretrain as pretraining
from coldlm.experiment.stages.k_shot import make_stage
from coldlm.experiment.training import Training
from coldlm.experiment.world import make_world, read_data
from coldlm.learn import loggers as learn_loggers
from coldlm.learn.fit import Fitted, Machine
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.pair import Pair
from coldlm.models.rankers.pairwise import PairRanker, PairSnapshot
from coldlm.models.rankers.ranker import Scorer
from coldlm.online import loop
from coldlm.runs import process
from coldlm.runs.identity import recipe
from coldlm.runs.manifest import open_run, refuse_other_data
from coldlm.runs.record import Record, logging_to, read_weights

log = logging.getLogger("coldlm")


def execute(config: dict[str, Any], name: str) -> Path:
    """Carry out the stages of a checked configuration in its run folder.

    A finished run is left alone, an unfinished one goes on behind its last finished stage.

    Returns:
        The run folder.

    Raises:
        ConfigError: more or fewer processes were started for this run than it asks for.
        RunFolderError: the folder holds a run of another configuration.
        ColdlmError: see the stages; the manifest then says FAILED or DIVERGED, and why.
    """
    folder = Path(config["output"]) / name
    ranks.refuse_another_world(config["trainer"]["devices"])
    is_main = ranks.is_first()
    manifest = open_run(folder, config)
    stages = [stage for stage in config["stages"] if stage not in manifest["done"]]
    left_out = {"online": config["online"]["schedule"], "pretrain": config["pretrain"]["objective"]}
    stages = [stage for stage in stages if left_out.get(stage) != "off"]
    if manifest["status"] == "FINISHED" and not stages:
        refuse_other_data(manifest, read_data(config).hashes, folder)
        print(f"{folder} is finished already: nothing to do")
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be made ({error.strerror}): choose another output=...") from error
    with logging_to(folder if is_main else None):
        Run(config, Record(folder, config, name, manifest, is_main=is_main)).carry_out(stages)
    return folder


class Run:
    """The state of one run while it is carried out."""

    def __init__(self, config: dict[str, Any], record: Record) -> None:
        self.config, self.record = config, record
        self.seed: int = config["seed"]
        self._snapshot: Scorer | None = None
        self._untrained: dict[str, Tensor] | None = None
        self._vectors: Tensor | None = None
        trainer = config["trainer"]
        self.machine = Machine(trainer["accelerator"], trainer["precision"], trainer["devices"])

    def carry_out(self, stages: list[str]) -> None:
        """Do the stages in order; whatever happens, the manifest says how it ended and the loggers are closed."""
        self._start()
        failed = True
        try:
            if self.record.is_main:
                about = self.record.folder, self.record.name, self.config, self.record.axes
                self.record.loggers = build(self.config["logger"], *about)
            self._prepare()
            for stage in stages:
                if stage != "pretrain" and self._untrained is None:
                    self._make_model()
                log.info("stage %s", stage)
                getattr(self, stage)()
                self.record.manifest["done"].append(stage)
                self.record.save()
            self.record.end("FINISHED")
            failed = False
        except Diverged as error:
            self.record.end("DIVERGED", str(error))
            raise
        except (KeyboardInterrupt, SystemExit):
            self.record.end("FAILED", "interrupted; the same command goes on behind the last finished stage")
            raise
        except Exception as error:
            self.record.end("FAILED", f"{type(error).__name__}: {error}")
            log.debug(traceback.format_exc())
            raise
        finally:
            learn_loggers.close(self.record.loggers, failed=failed)

    def pretrain(self) -> None:
        """Show the backbone the item texts known before validation; later stages use what comes of it."""
        folder, loggers = self.record.folder, self.record.loggers
        about = pretraining.make_backbone(self.config, self.world, folder, self.machine, loggers)
        self.record.manifest["pretrain"] = about
        self.record.manifest["seconds"]["pretrain"] = about["seconds"]

    def train(self) -> None:
        """Stop on validation, then refit on train + validation with what was chosen; save what trained."""
        split, config = self.world.split, self.config
        self._snapshot, epochs, values = None, config["train"]["epochs"], list[float]()
        fitted = None
        if config["train"]["validate"]:
            fitted, seconds = self._fit_anew(split.rows(TRAIN), split.t_val, "train", validate=self._validate)
            self.record.manifest["seconds"]["train"] = seconds
            epochs, values = fitted.epochs, fitted.values
            log.info("validation nDCG@%d by epoch: %s", self.record.k, ", ".join(f"{v:.4f}" for v in values))
        if config["split"]["refit"] or epochs < len(values):
            self._snapshot = None  # it is of other weights than those that are kept
        if config["split"]["refit"]:
            log.info("fit on train + validation, epochs: %d", epochs)
            past = split.rows(TRAIN, VALIDATION)
            refitted, seconds = self._fit_anew(past, split.t_test, "refit", epochs=epochs)
            self.record.manifest["seconds"]["refit"] = seconds
            fitted = fitted or refitted
        assert fitted is not None  # see combinations
        self.record.manifest |= {
            "validation": {f"ndcg@{self.record.k}": values, "best_epoch": epochs},
            "refit": config["split"]["refit"],
            "events_per_second": fitted.examples / max(fitted.seconds, 1e-9),
            "trainable_parameters": sum(p.numel() for p in self.ranker.parameters() if p.requires_grad),
            "total_parameters": sum(p.numel() for p in self.ranker.parameters()),
        }
        self.record.save_model("model", self.ranker)

    def evaluate(self) -> None:
        """Score the stream with frozen weights while histories grow ("history"). A control is done then; other runs
        also score it with histories that stop at T_test ("static"), and the baselines, by the same code."""
        begin = time.perf_counter()
        world, ask, parts = self.world, self.evaluation, []
        scorer = self._trained()
        parts.append(ask.tabulate(ask.judge_stream(scorer, MODEL), MODEL, "history"))
        self.record.manifest["latency_ms"] = ask.time_requests(scorer)
        if isinstance(self.ranker, PairRanker):
            self._about_reading(scorer)
        if self.config["control"]["name"] == "none":
            past = scorer.remembering(world.memory_of_the_past())
            parts.append(ask.tabulate(ask.judge_stream(past, f"{MODEL}, histories stopped"), MODEL, "static"))
            judged, half_life, late = judge_baselines(
                self.config, world, self.ranker.head.history, ask.measure, ask.judge_stream
            )
            self.record.manifest["recent_popularity_half_life_days"] = half_life
            self.record.manifest["leaks"]["late_idf"] = late
            log.info("leak meter: words whose document frequency knows the future: %d", late)
            parts += [ask.tabulate(rows, name, "history") for name, rows in judged.items()]
        self.record.manifest["seconds"]["evaluate"] = time.perf_counter() - begin
        self.record.write_events("evaluate", pl.concat(parts))

    def _about_reading(self, scorer: Scorer) -> None:
        """What a head that reads pairs could find at most, and how good a classifier it is."""
        assert isinstance(self.ranker, PairRanker)
        assert isinstance(scorer, PairSnapshot)
        ask, head = self.evaluation, self.ranker.head
        ceiling = ask.recall(self.ranker.first_stage(self.world.as_of), f"first stage {head.first_stage}", head.rerank)
        stage = {"name": head.first_stage, "rerank": head.rerank, "recall": ceiling}
        self.record.manifest["first_stage"] = stage
        log.info(
            "re-ranking the best %(rerank)d of %(name)s, whose recall is %(recall).4f: no more can be found", stage
        )
        if isinstance(head, Pair):
            rows = self.training.trainable(self.world.split.rows(STREAM))
            self.record.write_classification(*ask.classify(scorer, rows))

    def online(self) -> None:
        """Score each window, then fine-tune on it ("per_window"), or train anew on all events so far ("retrain")."""
        begin = time.perf_counter()
        world, config = self.world, self.config["online"]
        lr_factor = config["lr_factor"]
        edges = np.searchsorted(world.data.log.time, world.split.edges)
        rows = [self.training.trainable(np.arange(*edges[w : w + 2])) for w in range(world.split.n_windows)]

        def fit(w: int) -> Fitted:
            if config["schedule"] == "per_window":
                return self.training.fit(rows[w], f"update {w + 1}", epochs=config["epochs"], lr_factor=lr_factor)
            epochs = config["epochs"] or self.record.manifest["validation"]["best_epoch"]
            known = np.arange(edges[w + 1]), int(world.split.edges[w + 1])
            return self._fit_anew(*known, f"retrain {w + 1}", epochs=epochs, lr_factor=lr_factor)[0]

        judged, updates = loop.run(
            self.ranker,
            world.stream,
            world.split.n_windows,
            first=self._trained(),
            snapshot=lambda: take_snapshot(self.ranker, world),
            judge=lambda scorer, queries: self.evaluation.judge(scorer, queries, MODEL),
            update=fit,
            probe=lambda scorer, w: self.training.probe(scorer, rows[w]),
            peak_memory_mb=process.peak_memory_mb,
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
        self.record.manifest["seconds"]["online"] = time.perf_counter() - begin
        if updates:
            self.record.manifest["seconds_per_update"] = float(np.mean([update.seconds for update in updates]))
        self.record.save_model("online", self.ranker)
        self.record.write_frame("updates.parquet", pl.DataFrame([update.row() for update in updates]))
        window = np.repeat(world.stream.window, np.diff(world.stream.start))
        frame = self.evaluation.tabulate(
            concatenate(judged), MODEL, config["schedule"], versions[window], live_from[window]
        )
        self.record.write_events("online", frame)

    def k_shot(self) -> None:
        """Reveal the first k events of each newcomer, update once, and ask the same queries for every k."""
        begin = time.perf_counter()
        stage = make_stage(
            self.config,
            self.world,
            self.ranker,
            self.machine,
            self.evaluation,
            trained=self._trained(),
            epochs=self.config["online"]["epochs"] or self.record.manifest["validation"]["best_epoch"],
            cuts=self.record.ks,
        )
        outcome = stage.run()
        self.record.manifest["seconds"]["k_shot"] = time.perf_counter() - begin
        self.record.write_k_shot(*outcome)

    def _fit_anew(self, rows: Ints, time: int, part: str, **keys: Any) -> tuple[Fitted, float]:
        """Train from the pre-trained weights on the log's ``rows``, all earlier than ``time``; what it did, and the
        seconds it took with those of the head's own epochs."""
        assert self._untrained is not None
        self.ranker.restore(self._untrained)
        if self._vectors is None and self.ranker.starts_from_vectors:
            self._vectors = first_vectors(self.config, self.world, self.ranker)
        standardise(self.ranker, self._vectors, self.world.entered_by(time))
        rows = self.training.trainable(rows)[-(self.config["train"]["latest"] or 0) :]
        warmed = self.training.fit_head(rows, self._vectors)
        fitted = self.training.fit(rows, part, **keys)
        return fitted, warmed + fitted.seconds

    def _start(self) -> None:
        process.prepare(self.config["trainer"], self.machine.accelerator)
        self.record.manifest |= {"status": "RUNNING", "reason": None, "run": self.record.name, "axes": self.record.axes}
        self.record.manifest |= {"recipe": recipe(self.config), **process.describe()}
        self.record.manifest.setdefault("seconds", {})
        if self.record.is_main:
            file, text = self.record.folder / "config.resolved.yaml", OmegaConf.to_yaml(OmegaConf.create(self.config))
            write_file(file, lambda part: part.write_text(text, encoding="utf-8"))
        self.record.save()

    def _prepare(self) -> None:
        """Read, cut, and print what a reader must know before any number."""
        begin = time.perf_counter()
        self.world = make_world(self.config)
        refuse_other_data(self.record.manifest, self.world.data.hashes, self.record.folder)
        refuse_empty_parts(self.world, self.record.has_lists)
        self.record.manifest |= describe(self.world, self.record.has_lists)
        self.record.manifest["drawn_queries"] = self.config["evaluate"]["queries"]
        self.record.manifest["seconds"]["prepare"] = time.perf_counter() - begin

    def _make_model(self) -> None:
        """The untrained model, its training and its evaluation, and the leaks."""
        begin = time.perf_counter()
        world, split, folder = self.world, self.world.split, self.record.folder
        self.config = pretraining.with_own_backbone(self.config, folder)
        if self.config["pretrain"]["objective"] != "off" and "pretrain" not in self.record.manifest["done"]:
            raise ConfigError(f"there is no pre-trained backbone in {folder}: add pretrain to stages")
        self.ranker = make_ranker(self.config, world)
        if self.machine.accelerator == "gpu":
            self.ranker.to("cuda")
        self._untrained = {name: tensor.clone() for name, tensor in self.ranker.trainable().items()}
        self.training = Training(self.config, world, self.ranker, self.machine, self.record.loggers)
        self.evaluation = Evaluation(self.config, world, self.record.name)
        metered = self.evaluation.meter_leaks(self.training.trainable(split.rows(TRAIN, VALIDATION)))
        earlier = self.record.manifest.get("leaks", {})  # what a stage that is done has metered
        self.record.manifest |= {**metered, "leaks": {**earlier, **metered.get("leaks", {})}}
        backbone = getattr(self.ranker.encoder, "body", None)
        released = backbone.released if isinstance(backbone, Backbone) else None
        if isinstance(backbone, Backbone):
            self.record.manifest["matched"] = backbone.matched
        t_test = str(np.datetime64(int(split.t_test), "s"))
        self.record.manifest["checkpoint"] = {
            "name": self.record.axes["backbone"],
            "date": released,
            "newer_than_t_test": released is not None and released > t_test[:7],
        }
        self.record.manifest["seconds"]["prepare"] += time.perf_counter() - begin

    def _validate(self) -> float:
        self._snapshot = take_snapshot(self.ranker, self.world)
        return self.evaluation.measure(self._snapshot, MODEL)

    def _trained(self) -> Scorer:
        """The weights that the train stage saved, as a scorer, and in ``ranker``; encoded once for all stages."""
        file = self.record.folder / "model.safetensors"
        if not file.is_file():
            raise ConfigError(f"there is no trained model in {self.record.folder}: add train to stages")
        read_weights(file, self.ranker)
        if self._snapshot is None:
            self._snapshot = take_snapshot(self.ranker, self.world)
        return self._snapshot
