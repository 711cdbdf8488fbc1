"""Stage train: stop on validation, then refit on train + validation with what was chosen; save what
trained."""

from __future__ import annotations

import logging

from coldlm.core.tables import TRAIN, VALIDATION
from coldlm.evaluate.metrics import HEADLINE
from coldlm.experiment.state import State

log = logging.getLogger("coldlm")


def run(state: State) -> None:
    """Train the model, and leave its weights in the run folder."""
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
    manifest.validation = {f"{HEADLINE}@{record.k}": values, "best_epoch": epochs}
    manifest.refit = config.train.refit
    manifest.events_per_second = fitted.examples / max(fitted.seconds, 1e-9)
    manifest.trainable_parameters = sum(p.numel() for p in ranker.parameters() if p.requires_grad)
    manifest.total_parameters = sum(p.numel() for p in ranker.parameters())
    record.save_model("model", ranker)
