"""``fit``: the only place that builds a Lightning Trainer."""

from __future__ import annotations

import logging
import math
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.optim import Optimizer

from coldlm.core.errors import Diverged
from coldlm.core.finite import all_finite
from coldlm.core.seeding import torch_seed
from coldlm.core.tracked import Tell
from coldlm.learn.batches import Batches, EventData
from coldlm.learn.loss_curve import LossCurve
from coldlm.learn.module import Learner, Loss, Penalty
from coldlm.learn.optimisers import Named, rate
from coldlm.learn.profile import profiled
from coldlm.models.parts.adalora import Ranks
from coldlm.models.rankers.ranker import Model

# Lightning prints hardware lines and tips for every one of the many small trainings of an online
# run
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", ".*does not have many workers.*")
# frozen stages stay in eval mode on purpose; checkpoints are not Lightning's; its own code uses a
# deprecated call
warnings.filterwarnings("ignore", ".*module.s. in eval mode.*")
warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
warnings.filterwarnings("ignore", ".*Experiment logs directory .* exists and is not empty.*")
warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")


@dataclass(frozen=True)
class Budget:
    """How long and how carefully to train. ``epochs``; ``max_steps``: a cap over all epochs, None
    for none;
    ``patience``: epochs without a better validation value before stopping; ``accumulate``: batches
    per step; ``clip``: gradient norm, None for none; ``warmup``: share of one epoch's steps (of
    ``max_steps`` if that is less) in which the learning rates rise; ``schedule``: of the rates
    behind them, see ``optimisers.rate``; ``max_seconds``: a cap on the clock, which no two runs
    reach at the same step, None for none."""

    epochs: int
    max_steps: int | None = None
    patience: int = 1
    accumulate: int = 1
    clip: float | None = 1.0
    warmup: float = 0.0
    schedule: str = "constant"
    max_seconds: float | None = None

    def steps(self, epochs: Sequence[Sized]) -> int:
        """Return the optimiser steps of so many ``epochs`` of batches."""
        return min(
            sum(-(-len(epoch) // self.accumulate) for epoch in epochs),
            self.max_steps or sys.maxsize,
        )

    def rates(self, epochs: Sequence[Sized]) -> Callable[[int], float]:
        """Step (from 0) -> factor of the learning rates."""
        return rate(self.schedule, int(self.warmup * self.steps(epochs[:1])), self.steps(epochs))


@dataclass(frozen=True)
class Machine:
    """Where to train: Lightning's accelerator and precision, the number of processes (one per
    device), and the folder that keeps a profile of each training, None for none."""

    accelerator: str = "cpu"
    precision: str = "32-true"
    processes: int = 1
    profile: Path | None = None


@dataclass
class Fitted:
    """What a training did. ``epochs``: trained, or, with a validation, the best one (from 1);
    ``values``: validation value after each epoch; ``losses``: of every step; ``examples``: events
    seen; ``seconds``: training only; ``moments``: the optimiser's state."""

    epochs: int = 0
    values: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    examples: int = 0
    seconds: float = 0.0
    moments: dict[int, Any] = field(default_factory=dict)


def fit(
    ranker: Model,
    loss: Loss,
    batches: Callable[[int], Batches],
    optimiser: Callable[[Named], Optimizer],
    budget: Budget,
    machine: Machine,
    *,
    seed: int,
    name: str,
    tell: Tell | None = None,
    validate: Callable[[], float] | None = None,
    penalty: Penalty | None = None,
    moments: dict[int, Any] | None = None,
) -> Fitted:
    """Train ``ranker`` in place.

    Args:
        batches: epoch -> its batches.
        seed: of dropout; the order of events is the business of ``batches``.
        name: of this training, shown in the progress bar.
        tell: takes its curve.
        validate: value after each epoch, higher is better; training stops after ``budget.patience``
            epochs without a better one, and the best epoch's weights are put back.
        penalty: what is added to the loss of each batch.
        moments: of an earlier training of the same parameters, from which the optimiser goes on.

    Raises:
        Diverged: the loss or a weight stopped being finite, on any rank.
        SystemExit: 143 after a SIGTERM (Lightning alone would end with 0).
        KeyboardInterrupt: after a SIGINT.
    """
    epochs = [batches(epoch) for epoch in range(budget.epochs)]
    if not len(epochs[0]):
        # a window may hold no event that can be learned from
        ranker.eval()
        return Fitted(moments=moments or {})
    learner = Learner(
        ranker,
        loss,
        optimiser,
        rate=budget.rates(epochs),
        world=machine.processes,
        penalty=penalty,
        moments=moments,
    )
    for ranks in ranker.ranks:
        ranks.begin(budget.steps(epochs))
    watch = Watch(ranker, validate, budget.patience)
    seconds = train(learner, epochs, budget, machine, seed=seed, name=name, tell=tell, watch=watch)
    if bad := [key for key, tensor in ranker.trainable().items() if not all_finite(tensor)]:
        raise Diverged(
            f"{bad[0]} and {len(bad) - 1} more weights are not finite after {name}: "
            "lower optim.lr or optim.body_lr, or set train.clip"
        )
    return Fitted(
        epochs=watch.best_epoch if validate else watch.epochs,
        values=watch.values,
        losses=learner.losses,
        examples=learner.examples,
        seconds=seconds,
        moments=learner.moments,
    )


def train(
    learner: pl.LightningModule,
    epochs: Sequence[Any],
    budget: Budget,
    machine: Machine,
    *,
    seed: int,
    name: str,
    tell: Tell | None,
    watch: Watch,
) -> float:
    """Let a Trainer train ``learner`` in place on the batches of each of the ``epochs``; the
    seconds that took, less those of validation. Arguments and exceptions as in ``fit``."""
    show = sys.stderr.isatty()
    trainer = pl.Trainer(
        accelerator=machine.accelerator,
        devices=machine.processes,
        strategy=_strategy(machine),
        precision=machine.precision,  # type: ignore[arg-type]
        max_epochs=budget.epochs,
        max_steps=budget.max_steps or -1,
        max_time=None if budget.max_seconds is None else timedelta(seconds=budget.max_seconds),
        accumulate_grad_batches=budget.accumulate,
        gradient_clip_val=budget.clip,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        logger=False,
        callbacks=[watch, *([LossCurve(tell, watch)] if tell else [])],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=show,
        num_sanity_val_steps=0,
    )
    if show:
        print(
            f"{name}: {len(epochs[0])} batches an epoch, up to {budget.epochs} epochs",
            file=sys.stderr,
        )
    learner.train()
    begin = time.perf_counter()
    try:
        with torch_seed(seed, "fit"), profiled(machine.profile, name) as profiler:
            trainer.profiler = profiler  # type: ignore[attr-defined]
            trainer.fit(learner, datamodule=EventData(epochs))
    except SIGTERMException:
        raise SystemExit(143) from None
    except SystemExit as stop:
        # Lightning turns an interrupt into an exit with status 1, and goes deaf to the next ones
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from None
    finally:
        learner.eval()
    watch.epochs = trainer.current_epoch
    return time.perf_counter() - begin - watch.seconds


def _strategy(machine: Machine) -> Any:
    if machine.processes == 1:
        return "auto"
    from pytorch_lightning.strategies import DDPStrategy

    return DDPStrategy(process_group_backend="gloo" if machine.accelerator == "cpu" else None)


class Watched(Protocol):
    """A model whose best weights can be put back."""

    @property
    def ranks(self) -> list[Ranks]: ...
    def trainable(self) -> dict[str, Tensor]: ...
    def restore(self, state: dict[str, Tensor]) -> None: ...
    def train(self, mode: bool = True) -> Any: ...
    def eval(self) -> Any: ...


class Watch(Callback):
    """Validates after each epoch, keeps the best weights, stops when they get no better. Epochs in
    which a budget of ranks is not met yet cannot be the best: what they had will not be there in
    the end."""

    def __init__(
        self,
        model: Watched,
        validate: Callable[[], float] | None,
        patience: int,
        key: str = "validation/all/ndcg",
    ) -> None:
        self._model, self._validate, self._patience, self.key = model, validate, patience, key
        self._best: dict[str, Tensor] = {}
        self._best_value = -math.inf
        self.epochs, self.best_epoch, self.values, self.seconds = 0, 0, list[float](), 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._validate is None:
            return
        begin = time.perf_counter()
        self._model.eval()
        value = self._validate()
        self._model.train()
        self.values.append(value)
        is_settled = all(ranks.is_settled for ranks in self._model.ranks)
        if is_settled and (not self._best or value > self._best_value):
            self.best_epoch, self._best_value = len(self.values), value
            self._best = {name: tensor.clone() for name, tensor in self._model.trainable().items()}
        pl_module.log(self.key, value, sync_dist=True)  # the same on all ranks
        if is_settled and len(self.values) - self.best_epoch >= self._patience:
            trainer.should_stop = True  # and never back: the clock may have stopped it
        self.seconds += time.perf_counter() - begin

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._best:
            self._model.restore(self._best)
