"""What a causal model has read already: keys and values that its attention goes on from. Shapes: B texts, T tokens."""

from __future__ import annotations

import torch
from torch import Tensor


class Past:
    """Keys and values of what a causal model has read, by layer, each [B, heads, T, D / heads]."""

    def __init__(self, known: dict[int, tuple[Tensor, Tensor]] | None = None) -> None:
        self._known = known or {}

    @property
    def length(self) -> int:
        """Tokens read."""
        return self._known[0][0].shape[2] if self._known else 0

    def update(self, key: Tensor, value: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Add those of further tokens; what all of them follow may be there once. All keys and values of the layer."""
        if layer in self._known:
            key, value = (
                torch.cat([old.expand(len(new), -1, -1, -1), new], 2)
                for old, new in zip(self._known[layer], (key, value), strict=True)
            )
        self._known[layer] = key, value
        return key, value

    def fork(self, rows: Tensor | None = None) -> Past:
        """Another continuation of the same text, or of the texts ``rows``."""
        if rows is None:
            return Past(dict(self._known))
        return Past({layer: (key[rows], value[rows]) for layer, (key, value) in self._known.items()})
