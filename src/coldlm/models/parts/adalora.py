"""AdaLoRA's budget of ranks: who decides when which singular values stay (Zhang et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Allocator(Protocol):
    """What is needed of ``peft.tuners.adalora.RankAllocator``."""

    ipt: dict[str, Tensor]

    def update_ipt(self, model: nn.Module) -> None: ...
    def update_and_allocate(
        self, model: nn.Module, global_step: int, force_mask: bool = False
    ) -> tuple[int, Any]: ...


class Ranks(nn.Module):
    """The singular values of all updates P diag(lambda) Q of a model, and which of them are left.

    The first training allocates: all are there for its first steps, then the least important are
    set to zero, more with each step (eq. 8 to 12), until the budget is met; in its last steps what
    is left trains on. Every later training keeps what is left. ``kept``, [matrices, rank] uint8,
    says which; it is all ones before the first training and belongs into a checkpoint (bool tensors
    do not travel between processes on the CPU).

    Args:
        model: with parameters ``lora_A`` [r, in], ``lora_B`` [out, r] and ``lora_E`` [r, 1] for Q,
            P and lambda.
        allocate: (steps, first steps, last steps) -> an allocator for a training of so many
            optimiser steps.
        first: share of the steps in which all are there. last: share of the steps after the budget
            is met.
        orthogonality: weight of the penalty.
    """

    def __init__(
        self,
        model: nn.Module,
        allocate: Callable[[int, int, int], Allocator],
        *,
        first: float,
        last: float,
        orthogonality: float,
    ) -> None:
        super().__init__()
        # lists and tuples: the model is the backbone's already
        self._model, self._allocate = (model,), allocate
        self._first, self._last, self._orthogonality = first, last, orthogonality
        named = list(model.named_parameters())
        self._values = {name: p for name, p in named if "lora_E" in name}
        self._right = [p for name, p in named if "lora_A" in name]
        self._left = [p for name, p in named if "lora_B" in name]
        self.register_buffer(
            "kept",
            torch.stack([torch.ones(len(p), dtype=torch.uint8) for p in self._values.values()]),
        )
        self.kept: Tensor
        self._allocator: Allocator | None = None
        self._step = self._met_at = 0

    @property
    def is_settled(self) -> bool:
        """Whether the budget is met."""
        return not bool(self.kept.all())

    def begin(self, steps: int) -> None:
        """A training of ``steps`` optimiser steps begins."""
        first, last = int(self._first * steps), int(self._last * steps)
        self._allocator = None if self.is_settled else self._allocate(steps, first, last)
        self._step, self._met_at = 0, steps - last

    def after_step(self) -> None:
        """An optimiser step is done, its gradients are still there."""
        self._step += 1
        if self._allocator is None:
            with torch.no_grad():
                for value, kept in zip(self._values.values(), self.kept, strict=True):
                    value.mul_(kept[:, None])
            return
        (model,), is_last = self._model, self._step == self._met_at
        if is_last and not self._allocator.ipt:
            # it counts no importance in its last step, even if there was none before
            self._allocator.update_ipt(model)
        _, pattern = self._allocator.update_and_allocate(model, self._step, force_mask=is_last)
        if is_last:
            self._allocator = None
            self.kept.copy_(torch.tensor([pattern[name] for name in self._values]))

    def penalty(self) -> Tensor:
        """Return how far P and Q are from orthogonal: the mean over all of them of |P'P - I| and
        |QQ' - I| (Frobenius norms; eq. 4 sums squares), times the weight."""
        products = [q @ q.T for q in self._right] + [p.T @ p for p in self._left]
        apart = [
            torch.linalg.matrix_norm(square - torch.eye(len(square)).to(square))
            for square in products
        ]
        return self._orthogonality * torch.stack(apart).mean()
