"""The LightningModule: one training step, and the optimiser."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from coldlm.core.errors import Diverged
from coldlm.learn.batches import Batch
from coldlm.learn.optimisers import Named
from coldlm.models.rankers.ranker import Model

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

Penalty = Callable[[Batch, Tensor, tuple[int, int]], Tensor | None]
"""(batch, its logits [B, M], (epoch, number of the batch)) -> what is added to its loss, if
anything."""


def event_losses(loss: Loss, logits: Tensor, batch: Batch) -> Tensor:
    """Return [B] weighted losses of a batch's events, in float32 whatever the model computed in."""
    return loss(logits.float(), batch.log_weight, batch.positive, batch.label) * batch.weight


class Learner(pl.LightningModule):
    """Trains a ``Model`` under a loss of ``models.losses``.

    Args:
        optimiser: named parameters -> optimiser.
        rate: step -> factor of the learning rates.
        world: number of ranks; each adds its rows' share of the batch's mean loss.
        penalty: what is added to the loss of each batch.
        moments: state of an optimiser over the same parameters, from which this one goes on.
    """

    def __init__(
        self,
        ranker: Model,
        loss: Loss,
        optimiser: Callable[[Named], Optimizer],
        *,
        rate: Callable[[int], float] = lambda step: 1.0,
        world: int = 1,
        penalty: Penalty | None = None,
        moments: dict[int, Any] | None = None,
    ) -> None:
        super().__init__()
        self.ranker = ranker
        self._loss, self._optimiser, self._penalty = loss, optimiser, penalty
        self.moments: dict[int, Any] = moments or {}
        self._used: Optimizer | None = None
        self._rate, self._world = rate, world
        self.losses: list[float] = []
        self.examples = 0

    def training_step(self, batch: Batch, number: int) -> Tensor:
        """Return the mean loss over the whole batch's events, as far as they are on this rank, and the
        strategy's penalties, which ``losses`` leave out.

        Raises:
            Diverged: the loss is not finite, on this rank or another.
        """
        logits = self.ranker(batch)
        losses = event_losses(self._loss, logits, batch)
        # DDP averages gradients over ranks; times world, that is the sum over the batch's rows /
        # its size
        loss = losses.sum() * (self._world / batch.size)
        value = float(loss.detach())
        if not self._finite_everywhere(value, loss.device):
            raise Diverged(
                f"training loss is {value} in epoch {self.current_epoch}, batch "
                f"{number}: lower optim.lr or optim.body_lr, or set train.clip"
            )
        self.losses.append(value)
        self.examples += batch.size
        self.log(
            "train/loss", loss.detach(), prog_bar=True, batch_size=batch.size, rank_zero_only=True
        )
        for ranks in self.ranker.ranks:
            loss = loss + ranks.penalty()
        if self._penalty is not None:
            added = self._penalty(batch, logits, (self.current_epoch, number))
            loss = loss if added is None else loss + added
        return loss

    def on_train_end(self) -> None:
        """Keep the optimiser's state."""
        if self._used is not None:
            self.moments = self._used.state_dict()["state"]

    def optimizer_step(self, *args: Any, **keys: Any) -> None:
        """One step, gradients included, then what a budget of ranks makes of it, while the
        gradients are there."""
        super().optimizer_step(*args, **keys)
        for ranks in self.ranker.ranks:
            ranks.after_step()

    def _finite_everywhere(self, loss: float, device: torch.device) -> bool:
        is_bad = not math.isfinite(loss)
        if self._world == 1:
            return not is_bad
        # a rank that stopped alone would leave the others waiting for its gradients
        bad = torch.tensor(float(is_bad), device=device)
        distributed.all_reduce(bad)
        return not bad

    def configure_optimizers(self) -> Any:
        """Return the optimiser over what trains, and its rates step by step."""
        named = [(name, p) for name, p in self.ranker.named_parameters() if p.requires_grad]
        optimizer = self._used = self._optimiser(named)
        if self.moments:
            # the state alone: rates and the like are those of now
            groups = optimizer.state_dict()["param_groups"]
            # a copy: an optimiser goes on in place, and what it began with may be wanted again
            state = copy.deepcopy(self.moments)
            optimizer.load_state_dict({"state": state, "param_groups": groups})
        scheduler = LambdaLR(optimizer, self._rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
