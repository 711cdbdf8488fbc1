"""Training one model on slices of the log, as a configuration says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from coldlm.config.build import build
from coldlm.config.schema import RunConfig
from coldlm.core import ranks
from coldlm.core.tables import Ints
from coldlm.experiment.world import World
from coldlm.learn.batches import Batches, Recipe
from coldlm.learn.fit import Budget, Fitted, Machine, fit
from coldlm.learn.module import Penalty, event_losses
from coldlm.models.rankers.ranker import Model, Ranker, Scorer
from coldlm.runs.track import Track
from coldlm.split.queries import trainable
from coldlm.text.constant import FixedEncoder

HEAD = "head"
CURVES = ("train", "refit")
"""Trainings before the stream, the only ones whose curves are told of; the head's own epochs come
before either. What an update came to is told when it is through."""


class Training:
    """Everything that stays the same between the trainings of one run.

    Args:
        track: gets the curves of the trainings before the stream.

    ``loss``: the run's.
    """

    def __init__(
        self, config: RunConfig, world: World, ranker: Model, machine: Machine, track: Track
    ) -> None:
        self._config, self._world, self._ranker = config, world, ranker
        self._machine, self._track = machine, track
        self.loss: Any = build(config.loss)

    def trainable(self, rows: Ints) -> Ints:
        """Return those of the log's ``rows`` that can be trained on, which the probe never is."""
        rows = rows[~self._world.probe[rows]]
        return trainable(self._world.data.log, self._world.catalogue, rows)

    def batches(
        self,
        rows: Ints,
        epoch: int,
        share: tuple[int, int] = (0, 1),
        stream: tuple[object, ...] = (),
    ) -> Batches:
        """Return the batches of one epoch over the events ``rows``; ``share`` and ``stream`` as in
        ``learn.batches``."""
        head, train = self._ranker.head, self._config.train
        recipe = Recipe(
            batch_size=train.batch_size,
            session=train.session,
            history=head.history,
            pseudo_query=head.pseudo_query,
            uses_text=head.uses_text,
            uses_context=head.uses_context,
            seed=self._config.seed,
            stream=stream,
        )
        world = self._world
        return Batches(
            world.data,
            world.catalogue,
            world.as_of,
            rows,
            self.loss,
            recipe,
            epoch=epoch,
            share=share,
        )

    def fit_head(self, rows: Ints, vectors: torch.Tensor | None, part: str) -> float:
        """Train the head alone for ``train.head_epochs`` epochs before the training ``part``, the
        backbone standing still (Kumar et al. 2022: probe, then fine-tune); the seconds it took."""
        epochs = self._config.train.head_epochs
        if not epochs:
            return 0.0
        still = self._ranker if vectors is None else self.standing_still(vectors)
        name = HEAD if part in CURVES else f"{HEAD} of {part}"
        return self.fit(rows, name, epochs=epochs, ranker=still, max_steps=None).seconds

    def standing_still(self, vectors: torch.Tensor) -> Ranker:
        """Return the same head on item vectors [N, D] that stay as they are."""
        return Ranker(FixedEncoder(vectors, self._ranker.encoder.texts), self._ranker.head)

    def read_ahead(
        self, rows: Ints, epochs: int, stream: tuple[object, ...], ranker: Model | None = None
    ) -> None:
        """Read what does not change of the texts that so many epochs over ``rows`` ask for."""
        for epoch in range(epochs):
            (ranker or self._ranker).read_ahead(self.batches(rows, epoch, stream=stream).texts)

    def fit(
        self,
        rows: Ints,
        part: str,
        *,
        epochs: int | None = None,
        max_steps: int | None = None,
        lr_factor: float = 1.0,
        warms: bool = True,
        validate: Callable[[], float] | None = None,
        ranker: Model | None = None,
        stream: tuple[object, ...] = (),
        penalty: Penalty | None = None,
        moments: dict[int, Any] | None = None,
    ) -> Fitted:
        """Fit on the events ``rows``, [E] row numbers.

        Args:
            part: name shown in progress, and of its curve if it is one of ``CURVES``.
            epochs: None for those of ``train``.
            lr_factor: times the optimiser's learning rates.
            warms: whether the rates rise at the beginning, as ``train.warmup`` says.
            ranker: another model around the same head.
            stream: names of this training's random numbers.
            validate, penalty, moments: see ``learn.fit.fit``.
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
        self.read_ahead(rows, epochs, stream, ranker)
        budget = Budget(
            epochs=epochs,
            max_steps=max_steps,
            patience=train.patience,
            accumulate=train.accumulate,
            clip=train.clip,
            warmup=train.warmup if warms else 0.0,
            schedule=train.schedule,
        )
        return fit(
            ranker,
            self.loss,
            lambda epoch: self.batches(rows, epoch, share, stream),
            lambda named: build(node, named),
            budget,
            self._machine,
            seed=self._config.seed,
            name=part,
            tell=self._track.training(part) if part in (HEAD, *CURVES) else None,
            validate=validate,
            penalty=penalty,
            moments=moments,
        )

    def loss_of(self, scorer: Scorer, rows: Ints, stream: tuple[object, ...]) -> float:
        """Return the mean loss of the first batch of ``rows`` under the current weights, of which
        ``scorer`` is the snapshot; NaN where there is none."""
        batches = self.batches(rows, 0, stream=stream)
        if not len(batches):
            return float("nan")
        batch = batches[0].to(self._ranker.device)
        return float(event_losses(self.loss, scorer.batch(batch), batch).mean())
