"""The head without training: cosine of the untouched backbone's vectors. Shapes as in
``models/towers.py``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from coldlm.core.columns import Count
from coldlm.models.parts.head import Head, Parts
from coldlm.models.parts.sides import ItemSide, UserSide
from coldlm.models.rankers.ranker import Ranker


class ZeroShot(Head):
    """Sum over the user's last H items and text of their cosine with the item; nothing has
    parameters.

    The mean vector of the items known before training is subtracted first, since the cosines of
    language models crowd together otherwise (Ethayarajh 2019). The zero-shot log-probability of a
    causal model is ``head=causal_lm`` under ``strategy=frozen``.
    """

    def __init__(self, input_width: int, /, *, history: Count = 20) -> None:
        super().__init__()
        self.width, self.history = input_width, history
        self.register_buffer("centre", torch.zeros(input_width))
        self.centre: Tensor

    def assemble(self, parts: Parts) -> Ranker:
        """Return the model of two towers over the texts' vectors."""
        return Ranker(parts.vectors(), self)

    def standardise(self, vectors: Tensor) -> None:
        """Take the centre from the text vectors of items known before training, [M, D]."""
        self.centre.copy_(vectors.mean(0))

    def items(self, vectors: Tensor) -> ItemSide:
        """Item side of text vectors, [M, D]: unit vectors, no prior."""
        return ItemSide(F.normalize(vectors - self.centre, dim=1), vectors.new_zeros(len(vectors)))

    def users(self, history: Tensor, known: Tensor, text: Tensor, has_text: Tensor) -> UserSide:
        """Return [B] sums of what is known of each user; all 0, so that every item ties, where
        nothing is."""
        return UserSide(
            (history * known[:, :, None]).sum(1) + text * has_text[:, None], known.sum(1)
        )

    def score(
        self, users: UserSide | None, items: ItemSide | None, features: Tensor | None
    ) -> Tensor:
        """Return [B, M] scores."""
        assert users is not None
        assert items is not None
        return users.vector @ items.vector.T
