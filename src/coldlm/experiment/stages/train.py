"""Stage train: stop on validation, then refit on train + validation with what was chosen; save what
trained."""

from __future__ import annotations

import logging
from pathlib import Path
from statistics import fmean

from coldlm.core.errors import ColdlmError
from coldlm.core.tables import TRAIN, VALIDATION
from coldlm.evaluate.metrics import HEADLINE
from coldlm.experiment.state import State
from coldlm.runs.manifest import read_manifest
from coldlm.runs.weights import WEIGHTS, read_weights

log = logging.getLogger("coldlm")


FACTS = (
    "validation",
    "refit",
    "events_per_second",
    "trainable_parameters",
    "total_parameters",
    "peak_memory_mb",
)
"""What the manifest says of a training, besides its seconds."""

PARTS = ("train", "refit")
"""Of its seconds."""

LAST = 10
"""Steps at the end of a training over which its loss is averaged: batches differ in their negatives."""


def run(state: State) -> None:
    """Leave the trained weights in the run folder: those of another cell of this sweep that trains
    the same, if there is one."""
    config, key, trained = state.inputs.config, state.training_key, state.inputs.kept.trained
    other = trained.get(key)
    # a pre-trained backbone lies in the folder of its own run
    if other and (other / WEIGHTS).is_file() and config.pretrain.objective == "off":
        _take(state, other)
    else:
        _train(state)
    trained[key] = state.inputs.record.folder


def _take(state: State, folder: Path) -> None:
    """Take the weights that the run in ``folder`` has trained, and what it says of the training."""
    manifest, its = state.manifest, read_manifest(folder)
    log.info("trained before the stream as %s was: its weights are taken", folder.name)
    read_weights(folder / WEIGHTS, state.workshop.ranker)
    for fact in FACTS:
        setattr(manifest, fact, getattr(its, fact))
    manifest.seconds |= {part: its.seconds[part] for part in PARTS if part in its.seconds}
    manifest.trained_by = its.trained_by or its.run
    state.inputs.record.save_model("model", state.workshop.ranker)


def _train(state: State) -> None:
    config, record, manifest = state.inputs.config, state.inputs.record, state.manifest
    split, ranker = state.inputs.world.split, state.workshop.ranker
    epochs, values, fitted = config.train.epochs, list[float](), None
    if config.train.validate:
        fitted, seconds = state.fit_anew(
            split.rows(TRAIN), split.t_val, "train", validate=state.validate
        )
        manifest.seconds["train"] = seconds
        epochs, values = fitted.epochs, fitted.values
        log.info("validation nDCG@%d by epoch: %s", record.k, ", ".join(f"{v:.4f}" for v in values))
    # the last epoch's scorer is that of the saved weights only if these are the last epoch's
    state.keep_scorer(of_these_weights=not config.train.refit and epochs == len(values))
    if config.train.refit:
        log.info("fit on train + validation, epochs: %d", epochs)
        past = split.rows(TRAIN, VALIDATION)
        refitted, seconds = state.fit_anew(past, split.t_test, "refit", epochs=epochs)
        manifest.seconds["refit"] = seconds
        fitted = fitted or refitted
    assert fitted is not None  # see combinations
    _judge_fall(fitted.losses, config.debug.falls_to)
    manifest.validation = {f"{HEADLINE}@{record.k}": values, "best_epoch": epochs}
    manifest.refit = config.train.refit
    manifest.events_per_second = fitted.examples / max(fitted.seconds, 1e-9)
    manifest.trainable_parameters = sum(p.numel() for p in ranker.parameters() if p.requires_grad)
    manifest.total_parameters = sum(p.numel() for p in ranker.parameters())
    record.save_model("model", ranker)


def _judge_fall(losses: list[float], share: float | None) -> None:
    """Say whether the training loss came down to this share of its first value.

    Raises:
        ColdlmError: it did not.
    """
    if share is None or not losses:
        return
    first, last = losses[0], fmean(losses[-LAST:])
    said = f"the training loss went from {first:.4g} to {last:.4g} in {len(losses)} steps"
    if last > share * first:
        raise ColdlmError(
            f"no overfit: {said}, not to {share:.0%}; raise train.epochs, optim.lr or optim.body_lr, and look "
            "whether anything trains that the loss depends on"
        )
    log.info("overfit: %s", said)
