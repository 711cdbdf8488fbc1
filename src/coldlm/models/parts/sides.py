"""What a head of two towers knows of items and of users. Shapes: B users, M items, H history, W
head width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ItemSide:
    """What the head knows of items: ``vector`` [M, W] and ``prior`` [M]."""

    vector: Tensor
    prior: Tensor

    def at(self, index: Tensor) -> ItemSide:
        """Return the items at ``index``."""
        return ItemSide(self.vector[index], self.prior[index])


@dataclass(frozen=True)
class UserSide:
    """What the head knows of users: ``vector`` [B, W] and ``count`` [B], known items of the history
    (0 to H)."""

    vector: Tensor
    count: Tensor


def joined(parts: Sequence[ItemSide]) -> ItemSide:
    """Return the items of all parts, in their order."""
    if len(parts) == 1:
        return parts[0]
    vectors, priors = zip(*((part.vector, part.prior) for part in parts), strict=True)
    return ItemSide(torch.cat(vectors), torch.cat(priors))
