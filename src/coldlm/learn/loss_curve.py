"""The curve of a training: its mean loss, and what validation says, against epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from coldlm.core.tracked import Tell

EVERY = 10
"""Batches between two points; there is one at the end of each epoch, too."""


class Validated(Protocol):
    """What has validated after each epoch so far: ``key``, the name of the ``values``."""

    key: str
    values: list[float]


class LossCurve(Callback):
    """Tells of the mean loss since the last point, and at the end of an epoch of its validation.

    Args:
        watch: stands before this among the callbacks.
    """

    def __init__(self, tell: Tell, watch: Validated) -> None:
        self._tell, self._watch, self._told, self._at = tell, watch, 0, 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any
    ) -> None:
        losses = _losses(pl_module)
        n_batches = int(trainer.num_training_batches)
        self._at = trainer.current_epoch + (trainer.fit_loop.batch_idx + 1) / n_batches
        if len(losses) - self._told >= EVERY and self._at < trainer.current_epoch + 1:
            self._point(losses, {})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = self._watch.values
        self._point(_losses(pl_module), {self._watch.key: values[-1]} if values else {})

    def _point(self, losses: Sequence[float], values: dict[str, float]) -> None:
        since = losses[self._told :]
        self._told = len(losses)
        if since:
            values = {"loss": sum(since) / len(since), **values}
        self._tell(self._at, values)


def _losses(module: pl.LightningModule) -> list[float]:
    return cast("list[float]", module.losses)
