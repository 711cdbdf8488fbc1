"""A head: cosine of text vectors, with one trained weight per dimension. B users, H history, M
items, D width."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldlm.core.columns import Count, Share
from coldlm.models.parts.head import Head, Parts
from coldlm.models.parts.sides import ItemSide, UserSide
from coldlm.models.rankers.ranker import Ranker


class Weighted(Head):
    """score = scale * sum over d of w_d u_d v_d, of unit vectors u (mean of the last H items and
    the text) and v."""

    def __init__(
        self,
        input_width: int,  # of the backbone: given at run time, so no key
        /,
        *,
        history: Count = 20,
        pseudo_query: Share = 0.05,
    ) -> None:
        super().__init__()
        self.width, self.history, self.pseudo_query = input_width, history, pseudo_query
        self.weight = nn.Parameter(torch.ones(input_width))
        self.scale = nn.Parameter(torch.tensor(5.0))
        self.register_buffer("centre", torch.zeros(input_width))
        self.centre: Tensor

    def assemble(self, parts: Parts) -> Ranker:
        """Two towers over the texts' vectors, each text encoded once."""
        return Ranker(parts.vectors(), self)

    def standardise(self, vectors: Tensor) -> None:
        """Take the centre from the text vectors of items known before training, [M, D]."""
        self.centre.copy_(vectors.mean(0))

    def items(self, vectors: Tensor) -> ItemSide:
        """Item side of text vectors, [M, D]."""
        return ItemSide(F.normalize(vectors - self.centre, dim=1), vectors.new_zeros(len(vectors)))

    def users(self, history: Tensor, known: Tensor, text: Tensor, has_text: Tensor) -> UserSide:
        """User side of histories [B, H, D], known [B, H], and texts [B, D], has_text [B]; 0 where
        nothing is known."""
        total = (history * known[:, :, None]).sum(1) + text * has_text[:, None]
        return UserSide(F.normalize(total, dim=1), known.sum(1))

    def score(
        self, users: UserSide | None, items: ItemSide | None, features: Tensor | None
    ) -> Tensor:
        """[B, M] scores."""
        assert users is not None
        assert items is not None
        return self.scale * (users.vector * self.weight) @ items.vector.T
