"""What the stages of one run share: what it was given, and what they make of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from coldlm.config.schema import RunConfig
from coldlm.core.columns import MODEL
from coldlm.core.dates import iso
from coldlm.core.errors import ConfigError
from coldlm.core.files import hash_file
from coldlm.core.tables import TRAIN, VALIDATION, Ints
from coldlm.experiment.encoder import with_own_backbone
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.kept import Kept, training_key
from coldlm.experiment.model import first_vectors, make_ranker, standardise, take_snapshot
from coldlm.experiment.training import Training
from coldlm.experiment.world import World
from coldlm.learn.fit import Fitted, Machine
from coldlm.models.rankers.ranker import Model, Scorer
from coldlm.runs.manifest import CheckpointFacts, Manifest
from coldlm.runs.record import Record
from coldlm.runs.weights import WEIGHTS, read_weights

log = logging.getLogger("coldlm")


@dataclass(frozen=True)
class Inputs:
    """What a run is given. ``kept``: what the runs before this one in the same sweep have made.
    ``judge``: see ``run.execute``."""

    config: RunConfig
    world: World
    record: Record
    machine: Machine
    kept: Kept
    judge: Callable[[float], None] | None = None


@dataclass(frozen=True)
class Workshop:
    """The model and what trains and judges it. ``config``: with the backbone that stage pretrain
    has left.
    ``initial``: the model's first weights."""

    config: RunConfig
    ranker: Model
    initial: dict[str, Tensor]
    training: Training
    evaluation: Evaluation


class State:
    """The inputs of a run, and what its stages make of them; each stage is a function of it.

    The workshop is opened by the first stage that asks for it, since stage pretrain makes the
    backbone in it; or it is given.
    """

    def __init__(self, inputs: Inputs, workshop: Workshop | None = None) -> None:
        self.inputs = inputs
        self._workshop = workshop
        self._scorer: Scorer | None = None
        self._vectors: Tensor | None = None

    @property
    def manifest(self) -> Manifest:
        """Return what the run says of itself."""
        return self.inputs.record.manifest

    @property
    def workshop(self) -> Workshop:
        """Return the model and what trains and judges it, made when it is first asked for."""
        if self._workshop is None:
            self._workshop = _open_workshop(self.inputs)
        return self._workshop

    @property
    def training_key(self) -> str:
        """Return all that the weights before the stream depend on: the configuration, the data and
        the files of other models."""
        config, world = self.inputs.config, self.inputs.world
        first_stage = Path(str(config.head.get("first_stage"))) / WEIGHTS
        content = {
            **world.data.hashes,
            "data": world.digest,
            "backbone": getattr(self.workshop.ranker.encoder.body, "fingerprint", ""),
            "first stage": hash_file(first_stage) if first_stage.is_file() else "",
        }
        return training_key(config, content)

    def fit_anew(self, rows: Ints, time: int, part: str, **keys: Any) -> tuple[Fitted, float]:
        """Train from the pre-trained weights on those of the log's ``rows`` that are known at
        ``time``; what it did, and the seconds it took with those of the head's own epochs."""
        shop, world = self.workshop, self.inputs.world
        rows, keys = world.visible(rows, time), {"max_steps": shop.config.train.max_steps, **keys}
        ranker, training = shop.ranker, shop.training
        ranker.restore(shop.initial)
        if self._vectors is None and ranker.starts_from_vectors:
            self._vectors = first_vectors(shop.config, world, ranker)
        standardise(ranker, self._vectors, world.entered_by(time))
        rows = training.trainable(rows)[-(shop.config.train.latest or 0) :]
        warmed = training.fit_head(rows, self._vectors, part)
        fitted = training.fit(rows, part, **keys)
        return fitted, warmed + fitted.seconds

    def validate(self) -> float:
        """Return the macro nDCG@k of the current weights on validation."""
        self._scorer = take_snapshot(self.workshop.ranker, self.inputs.world)
        value = self.workshop.evaluation.measure(self._scorer, MODEL)
        if self.inputs.judge:
            self.inputs.judge(value)
        return value

    def keep_scorer(self, *, of_these_weights: bool) -> None:
        """Keep the scorer that validation made, if the weights that are saved are those that it is
        of."""
        if not of_these_weights:
            self._scorer = None

    @property
    def weights(self) -> Path:
        """Return the file that stage train left.

        Raises:
            ConfigError: there is none.
        """
        file = self.inputs.record.folder / WEIGHTS
        if not file.is_file():
            raise ConfigError(f"there is no trained model in {file.parent}: add train to stages")
        return file

    def trained(self) -> Scorer:
        """Return the weights that stage train saved, as a scorer, and put them into the model;
        encoded once for all stages.

        Raises:
            ConfigError: there are none.
            RunFolderError: they are damaged, or of another model.
        """
        read_weights(self.weights, self.workshop.ranker)
        if self._scorer is None:
            self._scorer = take_snapshot(self.workshop.ranker, self.inputs.world)
        return self._scorer


def _open_workshop(inputs: Inputs) -> Workshop:
    """The untrained model, its training and its evaluation; meters the leaks."""
    begin = time.perf_counter()
    world, record, manifest = inputs.world, inputs.record, inputs.record.manifest
    config = with_own_backbone(inputs.config, record.folder)
    if config.pretrain.objective != "off" and "pretrain" not in manifest.done:
        raise ConfigError(
            f"there is no pre-trained backbone in {record.folder}: add pretrain to stages"
        )
    ranker = make_ranker(config, world)
    if inputs.machine.accelerator == "gpu":
        ranker.to("cuda")
    shop = Workshop(
        config,
        ranker,
        initial={name: tensor.clone() for name, tensor in ranker.trainable().items()},
        training=Training(config, world, ranker, inputs.machine, record.track),
        evaluation=Evaluation(config, world, record.name),
    )
    past = shop.training.trainable(world.split.rows(TRAIN, VALIDATION))
    metered = inputs.kept.leaks(config.seed, lambda: shop.evaluation.meter_leaks(past))
    # what a stage that is done has metered stays
    manifest.leaks = {
        **(manifest.leaks or {}),
        **metered["leaks"],
    }
    manifest.dropped, manifest.others_would_drop = metered["dropped"], metered["others_would_drop"]
    backbone = ranker.encoder.body
    manifest.matched = dict(backbone.matched)
    t_test = iso(world.split.t_test)
    manifest.checkpoint = CheckpointFacts(
        name=record.axes["backbone"],
        date=backbone.released,
        newer_than_t_test=backbone.released is not None and backbone.released > t_test[:7],
    )
    manifest.seconds["prepare"] = (
        (manifest.seconds.get("prepare") or 0) + time.perf_counter() - begin
    )
    return shop
