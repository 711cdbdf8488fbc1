"""Training one model on slices of the log, as a configuration says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from coldlm.config.build import build
from coldlm.config.schema import RunConfig
from coldlm.core import ranks
from coldlm.core.tables import Ints
from coldlm.experiment.world import World
from coldlm.learn.batches import Batches, Recipe
from coldlm.learn.fit import Budget, Fitted, Machine, fit
from coldlm.learn.module import event_losses
from coldlm.models.rankers.ranker import Model, Ranker, Scorer
from coldlm.split.queries import trainable
from coldlm.text.encode import FixedEncoder


class Training:
    """Everything that stays the same between the trainings of one run.

    Args:
        loggers: Lightning loggers that get the training loss.
    """

    def __init__(
        self, config: RunConfig, world: World, ranker: Model, machine: Machine, loggers: list[Any]
    ) -> None:
        self._config, self._world, self._ranker = config, world, ranker
        self._machine, self._loggers = machine, loggers
        self._loss = build(config.loss)

    def trainable(self, rows: Ints) -> Ints:
        """Return those of the log's ``rows`` that can be trained on."""
        return trainable(self._world.data.log, self._world.catalogue, rows)

    def _batches(self, rows: Ints, epoch: int, share: tuple[int, int] = (0, 1)) -> Batches:
        head, train = self._ranker.head, self._config.train
        recipe = Recipe(
            batch_size=train.batch_size,
            session=train.session,
            history=head.history,
            pseudo_query=head.pseudo_query,
            uses_text=head.uses_text,
            uses_context=head.uses_context,
            seed=self._config.seed,
        )
        world = self._world
        return Batches(
            world.data,
            world.catalogue,
            world.as_of,
            rows,
            self._loss,
            recipe,
            epoch=epoch,
            share=share,
        )

    def fit_head(self, rows: Ints, vectors: torch.Tensor | None) -> float:
        """Train the head alone for ``train.head_epochs`` epochs, the backbone standing still (Kumar
        et al. 2022: probe, then fine-tune); the seconds it took."""
        epochs = self._config.train.head_epochs
        if not epochs:
            return 0.0
        still = self._ranker
        if vectors is not None:
            still = Ranker(FixedEncoder(vectors, self._ranker.encoder.texts), self._ranker.head)
        return self.fit(rows, "head", epochs=epochs, ranker=still, max_steps=None).seconds

    def fit(
        self,
        rows: Ints,
        part: str,
        *,
        epochs: int | None = None,
        lr_factor: float = 1.0,
        validate: Callable[[], float] | None = None,
        ranker: Model | None = None,
        max_steps: int | Literal["config"] | None = "config",
    ) -> Fitted:
        """Fit on the events ``rows``, [E] row numbers; epochs and steps come from ``train`` unless
        given.

        Args:
            part: name shown in progress.
            lr_factor: times the optimiser's learning rates.
            validate: see ``learn.fit.fit``.
            ranker: another model around the same head.
        """
        train = self._config.train
        node = dict(self._config.optim)
        share = ranks.rank(), self._machine.processes
        for key in ("lr", "body_lr"):
            node[key] *= lr_factor
        ranker = ranker or self._ranker
        if not any(p.requires_grad for p in ranker.parameters()):
            # a head without training is judged all the same
            return Fitted(values=[validate()] if validate else [])
        epochs = epochs or train.epochs
        for epoch in range(epochs):
            ranker.read_ahead(self._batches(rows, epoch).texts)
        budget = Budget(
            epochs=epochs,
            max_steps=train.max_steps if max_steps == "config" else max_steps,
            patience=train.patience,
            accumulate=train.accumulate,
            clip=train.clip,
            warmup=train.warmup,
            schedule=train.schedule,
        )
        return fit(
            ranker,
            self._loss,
            lambda epoch: self._batches(rows, epoch, share),
            lambda named: build(node, named),
            budget,
            self._machine,
            seed=self._config.seed,
            name=part,
            loggers=self._loggers,
            validate=validate,
        )

    def probe(self, scorer: Scorer, rows: Ints) -> float:
        """Return the mean loss of the first batch of ``rows`` under the current weights, of which
        ``scorer`` is the snapshot."""
        batches = self._batches(rows, 0)
        if not len(batches):
            return float("nan")
        batch = batches[0].to(self._ranker.device)
        return float(event_losses(self._loss, scorer.batch(batch), batch).mean())
