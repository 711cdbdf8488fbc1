"""Encoder + head = the trained model. Shapes as in ``models/towers.py``; I distinct items of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn

from coldlm.models.ranks import Ranks
from coldlm.models.towers import ItemSide, Towers


class Encoder(Protocol):
    """What turns item codes and texts into vectors (see ``text/encode.py``)."""

    width: int

    def items(self, codes: Tensor) -> Tensor: ...
    def all_items(self) -> Tensor: ...
    def texts(self, texts: Sequence[str]) -> Tensor: ...


class Asked(Protocol):
    """The part of a batch that scoring needs (``learn.batches.Batch`` is one)."""

    @property
    def items(self) -> Tensor: ...
    @property
    def columns(self) -> Tensor: ...
    @property
    def history(self) -> Tensor: ...
    @property
    def texts(self) -> tuple[str, ...]: ...
    @property
    def text(self) -> Tensor: ...
    @property
    def features(self) -> Tensor: ...


class Ranker(nn.Module):
    """Scores events against columns; every distinct item of a batch is encoded once."""

    def __init__(self, encoder: Any, head: Towers) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, batch: Asked) -> Tensor:
        """[B, M] scores."""
        return self.score(self.head.items(self._encode_shared(batch.items)) if self.head.uses_text else None, batch)

    def score(self, items: ItemSide | None, batch: Asked) -> Tensor:
        """[B, M] scores from the item side of the batch's ``items`` (None for a head without text)."""
        if items is None:
            return self.head.score(None, None, batch.features)
        history = items.vector[batch.history.clamp(min=0)]
        users = self.head.users(history, batch.history >= 0, *self.read(batch.texts, batch.text))
        return self.head.score(users, items.at(batch.columns), batch.features)

    def read(self, texts: Sequence[str], text: Tensor) -> tuple[Tensor, Tensor]:
        """[B, W] vectors of the texts at index ``text`` [B] (-1: none), and [B] whether there is one."""
        if not texts:
            return text.new_zeros(len(text), self.head.width, dtype=self.head.centre.dtype), text >= 0
        vectors = self.head.items(self.encoder.texts(texts)).vector
        return vectors[text.clamp(min=0)] * (text >= 0)[:, None], text >= 0

    @torch.no_grad()
    def item_side(self) -> ItemSide | None:
        """The item side of the whole catalogue, None for a head without text; call it in eval mode."""
        return self.head.items(self.encoder.all_items()) if self.head.uses_text else None

    def trainable(self) -> dict[str, Tensor]:
        """Parameters that train, the ranks that are left, and the head's buffers: all that a checkpoint needs besides
        the backbone."""
        state = {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}
        state |= {f"{name}.kept": m.kept for name, m in self.named_modules() if isinstance(m, Ranks)}
        state |= {f"head.{name}": b.detach() for name, b in self.head.named_buffers()}
        return state

    @property
    def ranks(self) -> list[Ranks]:
        """The budgets that move while training: one under AdaLoRA, else none."""
        return [module for module in self.modules() if isinstance(module, Ranks)]

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what ``trainable`` gave.

        Raises:
            KeyError: names that do not fit this model.
        """
        own = self.trainable()
        if set(own) != set(state):
            raise KeyError(f"checkpoint and model differ in {sorted(set(own) ^ set(state))[:5]}")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])

    def _encode_shared(self, codes: Tensor) -> Tensor:
        """[I, D] vectors; under DDP each rank encodes its part, and gradients flow back to the rank that did."""
        if not (distributed.is_available() and distributed.is_initialized()) or not _trains(self.encoder):
            vectors: Tensor = self.encoder.items(codes)
            return vectors
        rank, world = distributed.get_rank(), distributed.get_world_size()
        each = -(-len(codes) // world)
        # every rank gathers equally many rows: the last part is filled up with its first item
        padded = torch.cat([codes, codes[:1].expand(each * world - len(codes))])
        mine = self.encoder.items(padded[rank * each : (rank + 1) * each])
        gather: Any = _Gather.apply
        gathered: Tensor = gather(mine)
        return gathered[: len(codes)]


def _trains(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


class _Gather(torch.autograd.Function):
    """Concatenate equal parts of all ranks; the gradient of a part is the sum over ranks."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        ctx.rows = len(part)
        parts = [torch.empty_like(part) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous()
        distributed.all_reduce(total)
        first = distributed.get_rank() * ctx.rows
        return total[first : first + ctx.rows]
