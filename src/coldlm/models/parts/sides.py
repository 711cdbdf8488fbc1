"""What a head of two towers knows of items and of users. Shapes: B users, M items, H history, W
head width."""

from __future__ import annotations

from dataclasses import dataclass

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
