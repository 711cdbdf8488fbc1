"""The two-tower head: score = scaled dot product of user and item vectors + item prior + context.

Shapes: B users, H history, M items, N all items, D backbone width, W head width, F context
features.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from coldlm.asof.context import Moments
from coldlm.core.columns import Count, Range, Share
from coldlm.models.parts.deltas import Deltas
from coldlm.models.parts.fusion import Fusion
from coldlm.models.parts.head import Head, Parts
from coldlm.models.parts.sides import ItemSide, UserSide
from coldlm.models.parts.users import Attention, Mean, Transformer
from coldlm.models.rankers.ranker import Ranker


class Towers(Head):
    """Bi-encoder over text vectors, with context fusion.

    Item tower: standardised text vector, linear projection to W, and a linear prior from it. User
    tower: the vectors of the last H items and of the user's text joined by ``user``
    (``models/parts/users.py``), a learned vector where neither is known, and a linear map. Their
    product and the prior are the text score; context joins it as ``models/parts/fusion.py`` says.

    Args:
        input_width: D (given at run time).
        user_layers, user_heads: of the transformer, where ``user`` is that; heads divide W.
        context: "on" joins what counts, recency and age say with the text score, "off" leaves it
            out, "only" is the control that has nothing else.
        fusion: how, where context is "on". context_width: hidden width of its networks.
            context_dropout: share of pairs of an event and an item that train as if nobody had had
            the item. See ``models/parts/fusion.py``.
        pseudo_query: share of training histories replaced by words drawn from the next item's own
            text.
        dropout: on item vectors, in training.
        delta: how long a learned vector of each item may be, which is added to that of its text, in
            lengths of a typical text vector; 0 for none. See ``models/parts/deltas.py``.
    """

    def __init__(
        self,
        input_width: int,
        /,
        *,
        width: Count = 64,
        history: Count = 20,
        user: Literal["attention", "mean", "transformer"] = "attention",
        user_layers: Count = 1,
        user_heads: Count = 2,
        context: Literal["on", "off", "only"] = "on",
        fusion: Literal["add", "gate"] = "add",
        context_width: Count = 8,
        context_dropout: Share = 0.0,
        pseudo_query: Share = 0.05,
        dropout: Share = 0.0,
        delta: Annotated[float, Range(0)] = 0.0,
    ) -> None:
        super().__init__()
        self.delta = delta
        self.width, self.history, self.pseudo_query = width, history, pseudo_query
        self.uses_text = context != "only"
        self.uses_context = context != "off"
        self.deltas: Deltas | None = None
        if self.uses_text:
            self.register_buffer("centre", torch.zeros(input_width))
            self.register_buffer("spread", torch.ones(input_width))
            self.centre: Tensor
            self.spread: Tensor
            self.project = nn.Linear(input_width, width)
            self.prior = nn.Linear(width, 1)
            self.dropout = nn.Dropout(dropout)
            self.unknown = nn.Parameter(torch.zeros(width))
            self.to_user = nn.Linear(width, width)
            self.scale = nn.Parameter(torch.ones(()))
            nn.init.zeros_(self.prior.weight)
            nn.init.zeros_(self.prior.bias)
            nn.init.eye_(self.to_user.weight)
            nn.init.zeros_(self.to_user.bias)
            self.join: nn.Module = Mean()
            if user == "attention":
                self.join = Attention(width, history)
            elif user == "transformer":
                self.join = Transformer(width, history, user_layers, user_heads)
        self.fusion = Fusion(context, fusion, context_width, context_dropout)

    def assemble(self, parts: Parts) -> Ranker:
        """Return the model of two towers over the texts' vectors."""
        if self.uses_text and self.delta:
            width = len(
                self.centre
            )  # also the square of the typical length of a standardised vector
            self.deltas = Deltas(parts.is_new(), width, self.delta * width**0.5)
        return Ranker(parts.vectors(), self)

    def beside(self, codes: Tensor) -> Tensor | None:
        """Return [n, D] the learned vectors of the item ``codes``, [n], on the scale of texts' ones."""
        return None if self.deltas is None else self.spread * self.deltas(codes)

    @property
    def levels(self) -> list[nn.Parameter]:
        """Parameters that add one number to every score alike, see ``models/losses.py``."""
        own = [self.prior.bias] if self.uses_text and self.fusion.gate is None else []
        return own + self.fusion.levels

    def standardise(self, vectors: Tensor) -> None:
        """Take centre and spread from the text vectors of items known before training, [M, D]."""
        if self.uses_text:
            spread = vectors.std(0, correction=0)
            self.centre.copy_(vectors.mean(0))
            # encoders have dead dimensions (MiniLM has); dividing by their spread would blow up the
            # first movement
            self.spread.copy_(spread.clamp(min=float(0.1 * spread.mean().clamp(min=1e-6))))

    def items(self, vectors: Tensor) -> ItemSide:
        """Item side of text vectors, [M, D]."""
        projected = self.dropout(self.project((vectors - self.centre) / self.spread))
        return ItemSide(projected, self.prior(projected)[:, 0])

    def users(self, history: Tensor, known: Tensor, text: Tensor, has_text: Tensor) -> UserSide:
        """Return the user side of what is known of each.

        Args:
            history: [B, H, W] vectors of the last items, newest first; known: [B, H] bool.
            text: [B, W] vector of the typed query or profile, on the item side's scale; has_text:
                [B] bool.
        """
        elements = torch.cat([history, text[:, None]], 1)
        has = torch.cat([known, has_text[:, None]], 1)
        joined = self.join(elements, has)
        nothing = (~has.any(1, keepdim=True)).to(joined.dtype)
        return UserSide(self.to_user(joined * (1 - nothing) + self.unknown * nothing), known.sum(1))

    def score(
        self,
        users: UserSide | None,
        items: ItemSide | None,
        features: Tensor | Moments | None,
    ) -> Tensor:
        """Return [B, M] scores from the user side [B], the item side [M] and context features [F,
        B, M], or when those of all items are asked, each None where the head does not use it."""
        scores: Tensor = self.fusion(*self._read(users, items, features))
        return scores

    def shares(
        self, users: UserSide | None, items: ItemSide | None, features: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return [B, M] what the text and what counts add to ``score``."""
        return self.fusion.shares(*self._read(users, items, features))

    def _read(
        self, users: UserSide | None, items: ItemSide | None, features: Any
    ) -> tuple[Tensor | None, Any, Tensor | None]:
        """The scores of the text, [B, M], and the users' counts, each None without text, around the
        features."""
        if users is None or items is None:
            return None, features, None
        return self._products(users.vector, items), features, users.count

    def _products(self, users: Tensor, items: ItemSide) -> Tensor:
        """[B, M] scores of the text."""
        scale, products = self.scale / self.width**0.5, users @ items.vector.T
        if torch.is_grad_enabled():
            scores: Tensor = scale * products + items.prior
            return scores
        products.mul_(scale).add_(items.prior)  # in place: planes of a catalogue are large
        return products
