"""What a head of two towers knows of items and of users. Shapes: B users, M items, H history, W
head width."""

from __future__ import annotations

from collections.abc import Iterable
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


def joined(parts: Iterable[ItemSide], n: int) -> ItemSide:
    """Return the ``n`` items of all parts, of which there is one at least, in their order; each is written to
    its place as it is made, for between small blocks that stay large ones find no room again."""
    whole, begin = None, 0
    for part in parts:
        if len(part.prior) == n:
            return part
        if whole is None:
            vector = part.vector.new_empty(n, part.vector.shape[1])
            whole = ItemSide(vector, part.prior.new_empty(n))
        rows = slice(begin, begin + len(part.prior))
        whole.vector[rows], whole.prior[rows] = part.vector, part.prior
        begin = rows.stop
    assert whole is not None
    return whole
