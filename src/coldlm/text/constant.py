"""Encoders whose vectors stand still: those that another one has made, and random ones.

Shapes: N items, n texts asked for, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coldlm.core.seeding import generator


class FixedEncoder(nn.Module):
    """Another encoder's item vectors as constants: for training a head alone while the encoder
    stands still."""

    def __init__(self, vectors: Tensor, texts: Callable[[Sequence[str]], Tensor]) -> None:
        super().__init__()
        self.width = vectors.shape[1]
        self._vectors, self._texts = vectors, texts
        self._memo: dict[str, Tensor] = {}

    def items(self, codes: Tensor) -> Tensor:
        """Return [n, D] vectors of item codes."""
        return self._vectors[codes]

    def all_items(self) -> Tensor:
        """Return [N, D] vectors of every item."""
        return self._vectors

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return [n, D] vectors of free texts, each encoded once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._memo]
        if new:
            with torch.no_grad():
                self._memo.update(zip(new, self._texts(new), strict=True))
        return torch.stack([self._memo[text] for text in texts])

    def read_ahead(self, texts: Sequence[str]) -> None:
        """These texts are about to be asked for: encode them now."""
        self.texts(texts)


class RandomEncoder(nn.Module):
    """The control that knows no language: a fixed random unit vector per item, and per distinct
    free text.

    Args:
        body: ``RandomVectors``, which says how wide they are and by which seed they are drawn.
    """

    def __init__(self, n_items: int, body: Any) -> None:
        super().__init__()
        self.body = body
        self.width: int = body.width
        self.seed: int = body.seed
        vectors = np.empty(
            (n_items, self.width), np.float32
        )  # of large catalogues the largest part
        for item in range(n_items):
            vectors[item] = self._vector("item", item)
        self.register_buffer("_vectors", torch.from_numpy(vectors), persistent=False)
        self._vectors: Tensor

    def items(self, codes: Tensor) -> Tensor:
        """Return [n, D] vectors of item codes."""
        return self._vectors[codes]

    def all_items(self) -> Tensor:
        """Return [N, D] vectors of every item."""
        return self._vectors

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return [n, D] vectors of free texts; equal texts get equal vectors, similar ones do not
        get similar vectors."""
        return torch.from_numpy(np.stack([self._vector("text", text) for text in texts])).to(
            self._vectors.device
        )

    def read_ahead(self, texts: Sequence[str]) -> None:
        """There is nothing to read."""

    def _vector(self, kind: str, key: object) -> np.ndarray:
        vector = (
            generator(self.seed, "random vector", kind, key)
            .standard_normal(self.width)
            .astype(np.float32)
        )
        return vector / np.linalg.norm(vector)
