"""One update of a run's model: data, training, gate."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coldlm.config.build import build
from coldlm.config.kinds import DataPolicy, Scope, Trigger
from coldlm.config.options import chosen
from coldlm.core import ranks
from coldlm.core.errors import Diverged, ScoreError
from coldlm.core.tables import TRAIN, VALIDATION, Floats, Ints
from coldlm.evaluate.metrics import HEADLINE
from coldlm.experiment.model import take_snapshot
from coldlm.experiment.probe import Probe
from coldlm.experiment.state import State
from coldlm.experiment.world import World
from coldlm.learn.fit import Fitted
from coldlm.models.rankers.ranker import Model, Scorer
from coldlm.models.rankers.snapshot import Snapshot
from coldlm.online.data import Past, Policy
from coldlm.online.gates import Always, Outcome
from coldlm.online.loop import Made, Update
from coldlm.online.moment import Moment
from coldlm.online.regularisers import Ground, Regulariser
from coldlm.runs.process import peak_memory_mb

log = logging.getLogger("coldlm")

EARLIER = 2048
"""Events just before an update of which a regulariser may ask how much each weight matters."""


@dataclass
class _Tried:
    """What an attempt at an update came to. ``loss``, ``probe``: (before, after). ``why``: it is
    rolled back, "" if it is not."""

    loss: tuple[float, float]
    probe: tuple[float, float]
    scorer: Scorer | None = None
    examples: int = 0
    train_seconds: float = 0.0
    encode_seconds: float = 0.0
    why: str = ""


class Updater:
    """What trains between two versions.

    Args:
        first: scorer of the weights that the model has now.
    """

    def __init__(self, state: State, first: Scorer, probe: Probe) -> None:
        self._state, self._shop, self._world = state, state.workshop, state.inputs.world
        self._online = state.inputs.config.online
        self.scorer, self.version, self._first = first, 0, first
        self._policy: Policy = build(self._online.data)
        self._regulariser: Regulariser = build(self._online.regulariser)
        self._gate = build(self._online.gate)
        past, t_test = self._world.split.rows(TRAIN, VALIDATION), self._world.split.t_test
        self._waiting = self._world.waiting(past, t_test)
        self._moments: dict[int, Any] = {}
        self._has_told = False
        self._probe = probe
        self._on_probe: float | None = None  # of the model's weights, once it is asked for
        self._resets = chosen(Scope, self._online.scope).resets
        self._movable, self._names = self._ranker.movable, list[str]()
        self._trained = self._weights() if self._resets == "trained" else {}

    @property
    def world(self) -> World:
        """Return what there is to learn from."""
        return self._world

    def follow(self, state: State, probe: Probe) -> None:
        """Go on over a world that holds more behind what there was: later events, items, users; the
        model's weights are those of before."""
        self._state, self._shop, self._world = state, state.workshop, state.inputs.world
        self._probe = probe
        if self._resets == "trained":
            weights = self._weights()
            self._ranker.restore(self._trained)
            self._first = take_snapshot(self._ranker, self._world, self._first)
            self._ranker.restore(weights)
        self.scorer = take_snapshot(self._ranker, self._world, self.scorer)

    @property
    def _ranker(self) -> Model:
        return self._shop.ranker

    def update(self, now: Moment, reason: str, version: int) -> Made[Scorer]:
        """Choose, train, judge; put the weights back if they are not to go live."""
        begin, number = time.perf_counter(), len(now.updates) + 1
        self._names = build(self._online.scope, self._movable, version)
        rows = self._choose(now, number)
        before, moments = self._weights(), self._moments
        held = {name: tensor.clone() for name, tensor in self._regulariser.state.items()}
        tried = self._try(rows, number, now)
        if tried.why:
            self._ranker.restore(before)
            self._regulariser.state, self._moments = held, moments
        else:
            self._on_probe = tried.probe[1]
            self.scorer, self.version = tried.scorer or self.scorer, version
        seconds = ranks.first_says(time.perf_counter() - begin)
        made = self._row(now, reason, version, rows, tried, seconds)
        _tell(made)
        return Made(None if tried.why else tried.scorer, made)

    def _choose(self, now: Moment, number: int) -> Ints:
        """The rows of the log to learn from. Those of items whose counts are masked wait until their
        slot is over: weights must not tell what the mask hides (``Catalogue``)."""
        rows = self._policy.choose(self._past(now, number))
        if not chosen(DataPolicy, self._online.data).cheats:
            rows = np.union1d(rows, self._waiting)
            until = self._world.catalogue.masked_until[self._world.data.log.item[rows]]
            self._waiting, rows = rows[until > now.time], rows[until <= now.time]
        return self._shop.training.trainable(rows)

    def _try(self, rows: Ints, number: int, now: Moment) -> _Tried:
        """Train in place and look at what comes of it."""
        stream, training = ("update", number), self._shop.training
        begin = time.perf_counter()
        training.read_ahead(rows, 1, stream)
        reading = time.perf_counter() - begin
        if self._on_probe is None:
            self._on_probe = self._probe.measure(self.scorer)
        loss, probe = training.loss_of(self.scorer, rows, stream), self._on_probe
        tried = _Tried(loss=(loss, float("nan")), probe=(probe, float("nan")))
        begin = time.perf_counter()
        try:
            fitted = self._train(rows, number, now)
            tried.examples, tried.train_seconds = fitted.examples, time.perf_counter() - begin
            self._moments = fitted.moments
            begin = time.perf_counter()
            tried.scorer = take_snapshot(self._ranker, self._world, self.scorer)
            tried.encode_seconds = reading + time.perf_counter() - begin
            tried.loss = loss, training.loss_of(tried.scorer, rows, stream)
            tried.probe = probe, self._probe.measure(tried.scorer)
            tried.why = self._gate(Outcome(*tried.loss, *tried.probe))
        except (Diverged, ScoreError) as error:
            if isinstance(self._gate, Always):
                raise
            tried.why = str(error)
        return tried

    def _row(
        self, now: Moment, reason: str, version: int, rows: Ints, tried: _Tried, seconds: float
    ) -> Update:
        """What ``updates.parquet`` says of it."""
        wait = self._online.latency_seconds + self._online.latency_scale * seconds
        times = self._world.data.log.time[rows]
        return Update(
            number=len(now.updates) + 1,
            version=version - bool(tried.why),
            window=now.updated_in,
            trigger=chosen(Trigger, self._online.trigger).name,
            reason=reason,
            time=now.time,
            visible=now.visible,
            n_events=tried.examples,
            n_replayed=int((rows < now.learned).sum()) if tried.examples else 0,
            newest=int(times.max()) if len(times) else -1,
            seconds=seconds,
            train_seconds=tried.train_seconds,
            encode_seconds=tried.encode_seconds,
            latency=wait,
            live_at=now.time + wait,
            peak_memory_mb=peak_memory_mb(),
            bytes=self._bytes() if tried.examples and not tried.why else 0,
            loss_before=tried.loss[0],
            loss_after=tried.loss[1],
            probe_before=tried.probe[0],
            probe_after=tried.probe[1],
            rolled_back=bool(tried.why),
            why=tried.why,
        )

    def _past(self, now: Moment, number: int) -> Past:
        world = self._world
        edges = np.searchsorted(world.data.log.time, world.split.edges)

        def users(rows: Ints) -> Floats:
            assert isinstance(self.scorer, Snapshot)  # see combinations
            return self.scorer.user_vectors(world.data.who_took(rows), world.data.log.time[rows])

        return Past(
            log=world.data.log,
            learned=now.learned,
            visible=now.visible,
            number=number,
            seed=self._state.inputs.config.seed,
            coming=lambda: np.arange(*edges[now.window : now.window + 2]),
            users=users,
        )

    def _train(self, rows: Ints, number: int, now: Moment) -> Fitted:
        online, training = self._online, self._shop.training
        pace: dict[str, Any] = {
            "epochs": online.epochs or self._state.manifest.best_epoch,
            "max_steps": online.max_steps,
            "lr_factor": online.lr_factor,
            "warms": online.rate == "warmed",
        }
        stream = ("update", number)
        if self._resets == "base":
            return self._state.fit_anew(rows, now.time, f"update {number}", stream=stream, **pace)[
                0
            ]
        if self._resets == "trained":
            self._ranker.restore(self._trained)
        keeps = online.optimiser == "keep"
        with self._moving() as ranker:
            ground = self._ground(ranker, rows, pace["epochs"], stream)
            if len(ground.epochs[0]):
                self._regulariser.begin(ground)
            fitted = training.fit(
                rows,
                f"update {number}",
                ranker=ranker,
                stream=stream,
                penalty=self._regulariser.penalty,
                moments=self._moments if keeps else None,
                **pace,
            )
            if fitted.examples:
                self._regulariser.end(ground)
                self._tell_what_cannot_act(len(fitted.losses))
            return fitted

    def _tell_what_cannot_act(self, steps: int) -> None:
        if steps < self._regulariser.needs_steps and not self._has_told:
            self._has_told = True
            log.warning(
                "an update of %d step cannot feel online.regulariser, which is flat where it begins: "
                "use a smaller train.batch_size, or more online.epochs",
                steps,
            )

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self._ranker.trainable().items()}

    @contextmanager
    def _moving(self) -> Iterator[Model]:
        """The model in which nothing but the scope trains; where that is nothing of the encoder, the
        same head on the vectors that there are."""
        ranker = self._ranker
        with ranker.only(self._names):
            stands = not any(name.startswith("encoder.") for name in self._names)
            if stands and isinstance(self.scorer, Snapshot) and self.scorer.vectors is not None:
                yield self._shop.training.standing_still(self.scorer.vectors.vectors)
            else:
                yield ranker

    def _ground(self, ranker: Model, rows: Ints, epochs: int, stream: tuple[object, ...]) -> Ground:
        training = self._shop.training
        share = (ranks.rank(), ranks.world()) if ranks.in_group() else (0, 1)
        first = int(rows[0]) if len(rows) else 0
        return Ground(
            ranker=ranker,
            names=self._names,
            scorer=self._first if self._resets == "trained" else self.scorer,
            loss=training.loss,
            epochs=[training.batches(rows, epoch, share, stream) for epoch in range(epochs)],
            earlier=lambda: training.batches(
                training.trainable(np.arange(max(0, first - EARLIER), first)), 0, share
            ),
        )

    def _bytes(self) -> int:
        wanted = set(self._names)
        named = self._ranker.named_parameters()
        return sum(p.numel() * p.element_size() for name, p in named if name in wanted)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return everything that later updates depend on, by group and name."""
        moments = {
            f"{place}.{name}": torch.as_tensor(value)
            for place, values in self._moments.items()
            for name, value in values.items()
            if value is not None
        }
        return {
            "weights": self._ranker.trainable(),
            "held": self._regulariser.state,
            "memory": {name: torch.from_numpy(rows) for name, rows in self._policy.memory.items()},
            "moments": moments,
            "waiting": {"rows": torch.from_numpy(self._waiting)},
        }

    def restore(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Put back what ``tensors`` gave."""
        self._ranker.restore(tensors["weights"])
        self._regulariser.state = tensors["held"]
        self._policy.memory = {name: t.numpy() for name, t in tensors["memory"].items()}
        self._waiting = tensors["waiting"]["rows"].numpy()
        self._moments = {}
        for name, value in tensors["moments"].items():
            place, _, key = name.partition(".")
            self._moments.setdefault(int(place), {})[key] = value
        self.scorer = take_snapshot(self._ranker, self._world, self.scorer)
        self._on_probe = None


def _tell(update: Update) -> None:
    log.info(
        "update %d (%s): %d events, %.1f s, loss %.3f -> %.3f, %s on the probe %.4f -> %.4f%s",
        update.number, update.reason, update.n_events, update.seconds, update.loss_before,
        update.loss_after, HEADLINE, update.probe_before, update.probe_after,
        f", rolled back: {update.why}" if update.rolled_back else "",
    )  # fmt: skip
