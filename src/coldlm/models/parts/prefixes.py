"""Trained keys and values that every token attends to beside the text's own (prefix tuning).

The text keeps its own positions and its own length: nothing of the prefix reaches the embeddings or
the pooling.
Shapes: B texts, T tokens, P prefix length, A heads, W head width, D = A * W.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEY_STD = 0.02
"""Spread of the first keys. Equal ones would stay equal, and the prefix one single token."""


class Table(nn.Module):
    """What the prefixes of all layers are projected from: tanh(inner(table)), the hidden layer of
    the network in Li and Liang 2021, eq. 4."""

    def __init__(self, length: int, width: int, hidden: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(length, width))
        self.inner = nn.Linear(width, hidden)

    def forward(self) -> Tensor:
        """Return [P, hidden]."""
        return torch.tanh(self.inner(self.table))


class Prefixed(nn.Module):
    """An attention with P more keys and values in front of the text's own (Li and Liang 2021,
    section 4.2).

    The first values are zero, so a token's attention is spread a little thinner, and the untrained
    model is nearly the untouched one.

    Args:
        attention: of a layer, called with ``attention_mask`` [B, 1, 1 or T, T] bool or None.
        table: shared by all layers, or None to train keys and values directly.
    """

    def __init__(
        self, attention: nn.Module, *, length: int, heads: int, width: int, table: Table | None
    ) -> None:
        super().__init__()
        self.base, self.table, self._length, self._heads = attention, table, length, heads
        if table is None:
            self.keys = nn.Parameter(KEY_STD * torch.randn(length, width))
            self.values = nn.Parameter(torch.zeros(length, width))
        else:
            # zero here, as the rows of the table differ and so will the keys
            self.project = nn.Linear(table.inner.out_features, 2 * width)
            nn.init.zeros_(self.project.weight)
            nn.init.zeros_(self.project.bias)

    def forward(
        self,
        hidden: Tensor,
        *,
        attention_mask: Tensor | None,
        past_key_values: Any = None,
        **keys: Any,
    ) -> Any:
        """Return what ``attention`` returns for [B, T, D], behind what ``past_key_values`` may hold
        of earlier tokens."""
        if attention_mask is not None:
            attention_mask = F.pad(attention_mask, (self._length, 0), value=True)
        keys["past_key_values"] = _InFront(self, past_key_values)
        return self.base(hidden, attention_mask=attention_mask, **keys)

    def before(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return [B, A, P, W] keys and values for a batch of keys ``like``."""
        both = (
            (self.keys, self.values)
            if self.table is None
            else self.project(self.table()).chunk(2, -1)
        )
        batch = len(like), -1, -1, -1
        keys, values = (
            part.view(self._length, self._heads, -1).transpose(0, 1).to(like.dtype).expand(batch)
            for part in both
        )
        return keys, values


class _InFront:
    """The prefix as the cache that an attention asks for earlier tokens; it keeps nothing, but a
    ``past`` may."""

    def __init__(self, prefix: Prefixed, past: Any) -> None:
        self._prefix, self._past = prefix, past

    def update(self, key: Tensor, value: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Return [B, A, P + T, W] keys and values."""
        if self._past is not None:
            key, value = self._past.update(key, value, layer)
        keys, values = self._prefix.before(key)
        return torch.cat([keys, key], 2), torch.cat([values, value], 2)
