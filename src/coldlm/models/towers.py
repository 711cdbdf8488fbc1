"""The two-tower head: score = scaled dot product of user and item vectors + item prior + context.

Shapes: B users, H history, M items, N all items, D backbone width, W head width, F context features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from coldlm.columns import Range
from coldlm.context import FEATURES

TILE = 1 << 14
"""Columns of the context network's input that are computed at once."""


@dataclass(frozen=True)
class ItemSide:
    """What the head knows of items: ``vector`` [M, W] and ``prior`` [M]."""

    vector: Tensor
    prior: Tensor

    def at(self, index: Tensor) -> ItemSide:
        """The items at ``index``."""
        return ItemSide(self.vector[index], self.prior[index])


class Towers(nn.Module):
    """Bi-encoder over text vectors, with context fusion.

    Item tower: standardised text vector, linear projection to W, and a linear prior from it. User tower: additive
    attention (NRMS, Wu et al. 2019, eq. 5-6; or a plain mean) over the vectors of the last H items and of the user's
    text, a learned vector where neither is known, and a linear map. Context: a one-hidden-layer network over
    ``coldlm.context.FEATURES``.

    Args:
        input_width: D (given at run time).
        context: "on" adds the network's output to the text score, "off" leaves it out, "only" is the control that has
            nothing else.
        pseudo_query: share of training histories replaced by words drawn from the next item's own text.
        dropout: on item vectors, in training.
    """

    def __init__(
        self,
        input_width: int,
        /,
        *,
        width: Annotated[int, Range(1)] = 64,
        history: Annotated[int, Range(1)] = 20,
        user: Literal["attention", "mean"] = "attention",
        context: Literal["on", "off", "only"] = "on",
        context_width: Annotated[int, Range(1)] = 8,
        pseudo_query: Annotated[float, Range(0, 1)] = 0.05,
        dropout: Annotated[float, Range(0, 1)] = 0.0,
    ) -> None:
        super().__init__()
        self.width, self.history, self.pseudo_query = width, history, pseudo_query
        self.uses_text = context != "only"
        self.uses_context = context != "off"
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
            self.attention = _Attention(width, history) if user == "attention" else None
        if self.uses_context:
            self.context = ContextNetwork(context_width)

    def standardise(self, vectors: Tensor) -> None:
        """Take centre and spread from the text vectors of items known before training, [M, D]."""
        if self.uses_text:
            spread = vectors.std(0, correction=0)
            self.centre.copy_(vectors.mean(0))
            # encoders have dead dimensions (MiniLM has); dividing by their spread would blow up the first movement
            self.spread.copy_(spread.clamp(min=float(0.1 * spread.mean().clamp(min=1e-6))))

    def items(self, vectors: Tensor) -> ItemSide:
        """Item side of text vectors, [M, D]."""
        projected = self.dropout(self.project((vectors - self.centre) / self.spread))
        return ItemSide(projected, self.prior(projected)[:, 0])

    def users(self, history: Tensor, known: Tensor, text: Tensor, has_text: Tensor) -> Tensor:
        """[B, W] user vectors.

        Args:
            history: [B, H, W] vectors of the last items, newest first; known: [B, H] bool.
            text: [B, W] vector of the typed query or profile, on the item side's scale; has_text: [B] bool.
        """
        elements = torch.cat([history, text[:, None]], 1)
        known = torch.cat([known, has_text[:, None]], 1)
        weight = known.to(elements.dtype) if self.attention is None else self.attention(elements, known)
        total = weight.sum(1, keepdim=True)
        pooled = (weight[:, :, None] * elements).sum(1) / total.clamp(min=1e-9)
        nothing = (total == 0).to(pooled.dtype)
        mapped: Tensor = self.to_user(pooled * (1 - nothing) + self.unknown * nothing)
        return mapped

    def score(self, users: Tensor | None, items: ItemSide | None, features: Tensor | None) -> Tensor:
        """[B, M] scores from user vectors [B, W], the item side [M] and context features [F, B, M]."""
        score: Tensor | float = 0.0
        if self.uses_text:
            assert users is not None
            assert items is not None
            score = self.scale / self.width**0.5 * (users @ items.vector.T) + items.prior
        if self.uses_context:
            assert features is not None
            score = score + self.context(features)
        assert isinstance(score, Tensor)
        return score


class ContextNetwork(nn.Module):
    """A network of one hidden layer over the context features of each (event, item)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(len(FEATURES), width)
        self.outer = nn.Linear(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, M]; features lie as planes [F, B, M], so both layers are products of a small matrix with long rows."""
        inner, outer, flat = self.inner, self.outer, features.flatten(1)
        # without gradient, tiles that fit the processor's cache: three times as fast as one large product
        tiles = (flat,) if torch.is_grad_enabled() else torch.split(flat, TILE, 1)
        scores = [
            outer.weight @ torch.addmm(inner.bias[:, None], inner.weight, tile).relu_() + outer.bias for tile in tiles
        ]
        return torch.cat(scores, 1).view(features.shape[1:])


class _Attention(nn.Module):
    """Weights exp(w . tanh(V x_h + p_h)), normalised over what is known; p_h is learned per place (newest first)."""

    def __init__(self, width: int, history: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.place = nn.Parameter(torch.zeros(history + 1, width))
        self.outer = nn.Linear(width, 1, bias=False)

    def forward(self, elements: Tensor, known: Tensor) -> Tensor:
        """[B, H + 1] weights that sum to 1, all 0 in rows where nothing is known."""
        logits = self.outer(torch.tanh(self.inner(elements) + self.place))[:, :, 0]
        logits = logits.masked_fill(~known, -1e9)
        return torch.softmax(logits, 1) * known
