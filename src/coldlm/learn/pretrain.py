"""Training a language model on texts, alone or with who took what they are about, before a strategy learns from
anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from coldlm.core.errors import DataError, Diverged
from coldlm.core.seeding import generator, torch_seed
from coldlm.core.tracked import Tell
from coldlm.learn.fit import Budget, Machine, Watch, train
from coldlm.learn.optimisers import groups
from coldlm.learn.reading import Batches, Material
from coldlm.models.backbones.objectives import Objective, TextBatch
from coldlm.text.tokens import tokenize

WEIGHT_DECAY = 0.01


@dataclass
class Pretrained:
    """What a pre-training did. ``n_texts``, ``n_tokens``: trained on, special tokens included;
    ``n_users``: of whom it learned who took what; ``n_held_out``: texts, or users, that it was judged
    by; ``before``, ``after``: mean loss on these (of tokens and texts in nats), the latter of the best
    epoch, whose weights are kept; ``losses``: after each epoch; ``epochs``: of the best one;
    ``seconds``: training only."""

    n_texts: int
    n_tokens: int
    n_users: int
    n_held_out: int
    before: float
    after: float = float("nan")
    losses: list[float] = field(default_factory=list)
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0


class Reader(pl.LightningModule):
    """One step: the mean of an objective's losses, under AdamW with a warm-up."""

    def __init__(self, objective: Objective, lr: float, rate: Callable[[int], float]) -> None:
        super().__init__()
        self.objective = objective
        self._lr, self._rate = lr, rate
        self.losses: list[float] = []

    def training_step(self, batch: TextBatch, number: int) -> Tensor:
        """Return the mean loss of the batch.

        Raises:
            Diverged: it is not finite.
        """
        loss = _mean(self.objective(batch))
        if not torch.isfinite(loss):
            raise Diverged(
                f"pre-training loss is {float(loss.detach())} in epoch {self.current_epoch}, batch "
                f"{number}: lower pretrain.lr"
            )
        self.losses.append(float(loss.detach()))
        self.log("pretrain/loss", loss.detach(), prog_bar=True, batch_size=len(batch.ids))
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW; no decay on vectors."""
        named = [(name, p) for name, p in self.objective.named_parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(groups(named, self._lr, self._lr, WEIGHT_DECAY))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, self._rate), "interval": "step"},
        }


def pretrain(
    objective: Objective,
    material: Material,
    budget: Budget,
    machine: Machine,
    *,
    lr: float,
    batch_size: int,
    held_out: float,
    seed: int,
    tell: Tell | None = None,
) -> Pretrained:
    """Train ``objective`` in place on what there is to learn from, less a share ``held_out`` by which it
    is judged before, and after each epoch; the weights of the best epoch stay.

    Raises:
        DataError: fewer than two texts, or users, to learn from or none to be judged by.
        Diverged: the loss stopped being finite.
    """
    texts, n = list(material.texts), len(material)
    tokens = tokenize(texts, objective.tokenizer, objective.max_tokens, causal=objective.causal)
    order = generator(seed, "pretrain", "held out").permutation(n)
    n_held_out = max(1, round(held_out * n))
    if n - n_held_out < 2:
        raise DataError(
            f"stage pretrain: {n} {material.what} are known before t_val; it needs at least 3"
        )
    rows = np.sort(order[n_held_out:])
    judged = material.batches(tokens, np.sort(order[:n_held_out]), batch_size)
    epochs = [
        material.batches(tokens, rows, batch_size, generator(seed, "pretrain", epoch))
        for epoch in range(budget.epochs)
    ]

    def validate() -> float:
        return -judge(objective, judged, seed)

    done = Pretrained(*material.counts(tokens, rows), n_held_out, judge(objective, judged, seed))
    watch = Watch(objective, validate, budget.epochs, "validation/pretrain/minus_loss")
    reader = Reader(objective, lr, budget.rates(epochs))
    done.seconds = train(
        reader, epochs, budget, machine, seed=seed, name="pretrain", tell=tell, watch=watch
    )
    done.losses = [-value for value in watch.values]
    done.epochs, done.steps = watch.best_epoch, reader.global_step
    done.after = min(done.losses)
    return done


@torch.no_grad()
def judge(objective: Objective, batches: Batches, seed: int) -> float:
    """Return the mean loss over all predictions in ``batches``, in nats, under the same draws every
    time; in eval mode, unless the objective needs dropout."""
    device = next(objective.parameters()).device
    objective.train(objective.noisy)
    with torch_seed(seed, "pretrain", "validation"):
        losses = torch.cat([objective(batch.to(device)) for batch in batches])
    objective.eval()
    return float(_mean(losses))


def _mean(losses: Tensor) -> Tensor:
    return losses.sum() / max(1, len(losses))
