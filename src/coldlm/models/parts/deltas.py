"""A learned vector for each item, beside that of its text. Shapes: N items, n asked for, D width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PREFIX = "deltas."
"""Of the parameters' names in a head."""

NEW = f"{PREFIX}new"
"""The parameter of items that were new at T_test."""


class Deltas(nn.Module):
    """d_i of item i, at most ``bound`` long: e_i = c_i + d_i, ||d_i|| <= M, c_i the vector of its text
    (Pembek et al. 2025, "Let It Go? Not Quite", section 3). It is 0 at first, so an item that nobody
    has taken is its text alone; longer ones are drawn back to the ball. Items without an event before
    the stream have a parameter of their own, so that an update may move those alone
    (``online/scope=new_items``).

    Args:
        is_new: [N] bool, items without an event before T_test.
        width: D. bound: M, above 0.
    """

    def __init__(self, is_new: Tensor, width: int, bound: float) -> None:
        super().__init__()
        self.bound = bound
        n_new = int(is_new.sum())
        self.old = nn.Parameter(torch.zeros(len(is_new) - n_new, width))
        self.new = nn.Parameter(torch.zeros(n_new, width))
        # rows of ``old`` from 0 up, of ``new`` from -1 down
        place = torch.where(is_new, -is_new.cumsum(0), (~is_new).cumsum(0) - 1)
        self.register_buffer("place", place, persistent=False)
        self.place: Tensor

    def forward(self, codes: Tensor) -> Tensor:
        """Return [n, D] of the item ``codes``, [n]."""
        place = self.place[codes]
        is_old = place >= 0
        rows = torch.cat([self.old[place[is_old]], self.new[-1 - place[~is_old]]])
        where = torch.empty_like(place)
        where[torch.cat([is_old.nonzero()[:, 0], (~is_old).nonzero()[:, 0]])] = torch.arange(
            len(place), device=place.device
        )
        vectors = rows[where]
        # within the ball the factor is 1 to the bit, and its gradient 0
        length = vectors.norm(dim=1, keepdim=True).clamp(min=self.bound)
        bounded: Tensor = vectors * (self.bound / length)
        return bounded
