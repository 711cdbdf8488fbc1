"""Regularisers: what holds an update to what was learned before.

``begin`` sees the model before it trains, ``penalty`` is added to the loss of every batch, ``end``
sees the model when it has trained. What is remembered from update to update is in ``state``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from coldlm.core import ranks
from coldlm.core.columns import Above0, Range
from coldlm.learn.batches import Batch, Batches
from coldlm.learn.module import Loss, event_losses
from coldlm.models.rankers.ranker import Model, Scorer

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Ground:
    """What an update stands on. ``ranker``: in which ``names`` train. ``scorer``: of the weights
    before the update. ``epochs``: the batches of each epoch, this rank's rows of them. ``earlier``:
    () -> batches of the events just before those of the update."""

    ranker: Model
    names: Sequence[str]
    scorer: Scorer
    loss: Loss
    epochs: Sequence[Batches]
    earlier: Callable[[], Batches]

    @property
    def moving(self) -> Weights:
        """Return the parameters that train, by name."""
        wanted = set(self.names)
        return {name: p for name, p in self.ranker.named_parameters() if name in wanted}

    def copy(self) -> Weights:
        """Return what they are now."""
        return {name: p.detach().clone() for name, p in self.moving.items()}


class Regulariser:
    """None: nothing holds an update back. The others are made from this one. ``needs_steps``: of an
    update, to do anything: where it begins, the distance to where it began is flat."""

    needs_steps = 1

    def __init__(self) -> None:
        self.state: Weights = {}

    def begin(self, ground: Ground) -> None:
        """Look at the model before it trains."""

    def penalty(self, batch: Batch, logits: Tensor, place: tuple[int, int]) -> Tensor | None:
        """Return what is added to the loss of one batch, a scalar; None for nothing.

        Args:
            logits: [B, M] of this rank's rows, as the model has them now.
            place: (epoch, number) of the batch.
        """
        return None

    def end(self, ground: Ground) -> None:
        """Look at the model when it has trained; may change its weights."""


class L2ToPrevious(Regulariser):
    """strength / 2 * the squared distance to the weights before the update.

    Summed over the parameters that may move."""

    needs_steps = 2

    def __init__(self, *, strength: Above0 = 1.0) -> None:
        super().__init__()
        self._strength = strength

    def begin(self, ground: Ground) -> None:
        """Remember the weights."""
        self._moving, self._before = ground.moving, ground.copy()

    def penalty(self, batch: Batch, logits: Tensor, place: tuple[int, int]) -> Tensor:
        """Return the distance."""
        pairs = ((p, self._before[name]) for name, p in self._moving.items())
        return self._strength / 2 * torch.stack([((p - b) ** 2).sum() for p, b in pairs]).sum()


class EWC(Regulariser):
    """Online elastic weight consolidation: strength / 2 * sum of F * (weight - weight before)^2,
    where F <- gamma * F + the Fisher information of the update's data at its end (Schwarz et al.
    2018, section 3.2; Kirkpatrick et al. 2017, eq. 3).

    F is the diagonal, from the mean gradient g of each batch of B events: the mean over batches of
    B * g^2, which is the mean over events of their squared gradients where these add up to nothing.
    At first it is that of the events just before the first update.
    """

    needs_steps = 2

    def __init__(
        self, *, strength: Above0 = 100.0, gamma: Annotated[float, Range(0, 1)] = 0.9
    ) -> None:
        super().__init__()
        self._strength, self._gamma = strength, gamma

    def begin(self, ground: Ground) -> None:
        """Remember the weights."""
        if not self.state:
            self.state = _fisher(ground, ground.earlier())
        self._moving, self._before = ground.moving, ground.copy()

    def penalty(self, batch: Batch, logits: Tensor, place: tuple[int, int]) -> Tensor:
        """Return the weighted distance."""
        terms = [
            (self.state[name] * (p - self._before[name]) ** 2).sum()
            for name, p in self._moving.items()
        ]
        return self._strength / 2 * torch.stack(terms).sum()

    def end(self, ground: Ground) -> None:
        """Add what this update's data say."""
        new = _fisher(ground, ground.epochs[0])
        self.state = {name: self._gamma * old + new[name] for name, old in self.state.items()}


class Distill(Regulariser):
    """strength * T^2 * KL(before || now) of the softmax over each event's candidates at temperature
    T, mean over events (Hinton et al. 2015, section 2; the teacher is the version before, Li and
    Hoiem 2016)."""

    needs_steps = 2

    def __init__(self, *, strength: Above0 = 1.0, temperature: Above0 = 1.0) -> None:
        super().__init__()
        self._strength, self._temperature = strength, temperature

    def begin(self, ground: Ground) -> None:
        """Score all batches by the weights before the update."""
        self._before = {
            (epoch, number): ground.scorer.batch(batch.to(ground.ranker.device)).detach()
            for epoch, batches in enumerate(ground.epochs)
            for number, batch in enumerate(batches)
        }

    def penalty(self, batch: Batch, logits: Tensor, place: tuple[int, int]) -> Tensor:
        """Return the divergence."""
        seen = torch.isfinite(batch.log_weight)
        seen[torch.arange(len(seen), device=seen.device), batch.positive] = True
        nothing = torch.finfo(torch.float32).min
        before, now = (
            F.log_softmax((x.float() / self._temperature).masked_fill(~seen, nothing), 1)
            for x in (self._before[place], logits)
        )
        each = (before.exp() * (before - now)).masked_fill(~seen, 0).sum(1)
        # as the loss: this rank's part of the batch's mean, times the number of ranks
        return self._strength * self._temperature**2 * each.sum() * _world() / batch.size


class Peso(Regulariser):
    """strength * sum over adapter modules of n * KL(softmax of the n weights before || softmax of
    the weights now) (PESO: Yoo et al. 2025, section 4).

    The softmax of many small weights is nearly flat and its KL nearly nothing, about var(change) /
    2; times n it is half of the squared change about its mean, on the scale of ``L2ToPrevious``:
    a module is held to its pattern, not to its level.
    """

    needs_steps = 2

    def __init__(self, *, strength: Above0 = 2.0) -> None:
        super().__init__()
        self._strength = strength

    def begin(self, ground: Ground) -> None:
        """Remember the adapters' weights."""
        self._modules: dict[str, list[Tensor]] = {}
        for name, p in ground.moving.items():
            if name.startswith("encoder."):
                self._modules.setdefault(_module_of(name), []).append(p)
        self._before = {name: _log_softmax(parts).detach() for name, parts in self._modules.items()}

    def penalty(self, batch: Batch, logits: Tensor, place: tuple[int, int]) -> Tensor:
        """Return the divergence."""
        terms = []
        for name, parts in self._modules.items():
            before, now = self._before[name], _log_softmax(parts)
            terms.append(len(before) * (before.exp() * (before - now)).sum())
        return self._strength * torch.stack(terms).sum()


class EMA(Regulariser):
    """What goes live is decay * the weights before + (1 - decay) * the weights when training has
    ended."""

    def __init__(self, *, decay: Annotated[float, Range(0, 1)] = 0.5) -> None:
        super().__init__()
        self._decay = decay

    def begin(self, ground: Ground) -> None:
        """Remember the weights."""
        self._before = ground.copy()

    @torch.no_grad()
    def end(self, ground: Ground) -> None:
        """Go back a part of the way."""
        for name, p in ground.moving.items():
            p.lerp_(self._before[name], self._decay)


def _world() -> int:
    return ranks.world() if ranks.in_group() else 1


def _module_of(name: str) -> str:
    """The adapted module that a parameter belongs to: what stands before LoRA's own names, or
    before the parameter's."""
    head, is_lora, _ = name.partition(".lora_")
    return head if is_lora else name.rpartition(".")[0]


def _log_softmax(parts: list[Tensor]) -> Tensor:
    return F.log_softmax(torch.cat([part.flatten() for part in parts]).float(), 0)


def _fisher(ground: Ground, batches: Batches) -> Weights:
    """[as the weights] mean over batches of B * (mean gradient)^2, over all ranks' rows."""
    moving = ground.moving
    total = {name: torch.zeros_like(p) for name, p in moving.items()}
    for number in range(len(batches)):
        batch = batches[number].to(ground.ranker.device)
        loss = event_losses(ground.loss, ground.ranker(batch), batch).sum() / batch.size
        given: Any = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
        for name, gradient in zip(moving, given, strict=True):
            whole = torch.zeros_like(total[name]) if gradient is None else gradient
            if ranks.in_group():
                distributed.all_reduce(whole)
            total[name] += batch.size * whole**2
    return {name: value / max(len(batches), 1) for name, value in total.items()}
