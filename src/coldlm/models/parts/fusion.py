"""How what counts say of an item joins what its text says, in every head that trains.

Shapes: B users, M items, F context features.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from coldlm.asof.context import FEATURES, SCALE, Moments

TILE = 1 << 14
"""Columns of a context network's input that are computed at once."""


class Fusion(nn.Module):
    """The context score, a network of one hidden layer over ``coldlm.asof.context.FEATURES``, and
    its fusion with a text score, where there are both:

        add    text + context
        gate   2 g text + 2 (1 - g) context,  g = sigmoid(network(FEATURES of the item, log(1 + count of the user)))

    The gate is a gated multimodal unit (Arevalo et al. 2017, section 3.1) over two scores instead
    of two vectors. Its input says how far counts can be trusted, so that text may weigh more where
    they are low, which is what DropoutNet (Volkovs et al. 2017) trains a network to do. It starts
    at g = 1/2, which is the sum. At n = 0 the counts are 0 and ``is_new`` is 1, so that g is
    learned from the items that nobody has had. The user's count ends at the length of the history,
    and is 0 under a pseudo-query.

    In training a ``dropout`` of pairs of an event and an item show the networks what a new item has:
    no count, no age, and ``is_new``. So context cannot say of those which was taken, and text must:
    DropoutNet's dropout of items, with counts in the place of factors. It is drawn whatever was taken, so
    it tells no label.

    Args:
        context: "on" joins the network's output with the text score, "off" leaves it out, "only"
            leaves the text out.
        fusion: how, where context is "on".
        width: hidden width of the context network, and of the gate's.
        dropout: the share of pairs whose context is hidden in training, where there is a text.
    """

    def __init__(
        self,
        context: Literal["on", "off", "only"],
        fusion: Literal["add", "gate"],
        width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.uses_text, self.uses_context = context != "only", context != "off"
        if self.uses_context:
            self.context = ContextNetwork(len(FEATURES), width)
        self.gate: ContextNetwork | None = None
        if self.uses_text and self.uses_context and fusion == "gate":
            self.gate = ContextNetwork(len(FEATURES) + 1, width)
            nn.init.zeros_(self.gate.outer.weight)
            nn.init.zeros_(self.gate.outer.bias)

    @property
    def levels(self) -> list[nn.Parameter]:
        """Parameters that add one number to every score alike: none under a gate, which weighs it
        item by item."""
        return [self.context.outer.bias] if self.uses_context and self.gate is None else []

    def forward(
        self, text: Tensor | None, features: Tensor | Moments | None, count: Tensor | None
    ) -> Tensor:
        """Return [B, M] scores. What is not used may be None.

        Args:
            text: [B, M] scores of the text. features: [F, B, M], or of when. count: [B] known items of each
                user's history.
        """
        if not self.uses_context:
            assert text is not None
            return text
        assert features is not None
        if self.training and self.dropout and self.uses_text:
            assert isinstance(features, Tensor)
            features = _some_as_new(features, self.dropout)
        if self.gate is None:
            return self.context.added(text, features)
        context: Tensor = self.context(features)
        gate = self._open(features, count)
        assert text is not None
        return 2 * (gate * text + (1 - gate) * context)

    def shares(
        self, text: Tensor | None, features: Tensor | None, count: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return [B, M] the two parts that ``forward`` of the same arguments adds up, None for what is
        not used. Not for training, which hides some."""
        if features is None:
            return text, None
        context: Tensor = self.context(features)
        if self.gate is None:
            return text, context
        gate = self._open(features, count)
        assert text is not None
        return 2 * gate * text, 2 * (1 - gate) * context

    def _open(self, features: Tensor | Moments, count: Tensor | None) -> Tensor:
        """[B, M] the gate."""
        assert self.gate is not None
        assert count is not None
        return torch.sigmoid(self.gate(features, torch.log1p(count.float()) / SCALE))


def _some_as_new(features: Tensor, share: float) -> Tensor:
    """Return features [F, B, M] in which a ``share`` of the pairs is an item that nobody had."""
    hidden = torch.rand(features.shape[1:], device=features.device) < share
    new = features.new_zeros(len(FEATURES))
    new[FEATURES.index("is_new")] = 1
    return torch.where(hidden, new[:, None, None], features)


class ContextNetwork(nn.Module):
    """A network of one hidden layer over planes of numbers about each (event, item)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs, width)
        self.outer = nn.Linear(width, 1)

    def added(self, scores: Tensor | None, planes: Tensor | Moments) -> Tensor:
        """Return [B, M] the network's scores, with ``scores`` added where there are some. Where ``planes``
        say only when they are of, the sum takes the memory of ``scores``."""
        if isinstance(planes, Moments):
            return self._as_of(planes, None, scores)
        own: Tensor = self(planes)
        return own if scores is None else scores + own

    def forward(self, planes: Tensor | Moments, beside: Tensor | None = None) -> Tensor:
        """Return [B, M] from planes [F, B, M], or from when they are of, and, if the network has one input
        more, from a number of each event, [B]. Both layers are products of a small matrix with long
        rows."""
        if isinstance(planes, Moments):
            return self._as_of(planes, beside, None)
        if beside is not None:
            planes = torch.cat([planes, beside[:, None].expand(planes.shape[1:])[None]])
        inner, outer, flat = self.inner, self.outer, planes.flatten(1)
        # without gradient, tiles that fit the processor's cache: three times as fast as one large
        # product
        tiles = (flat,) if torch.is_grad_enabled() else torch.split(flat, TILE, 1)
        scores = [
            outer.weight @ torch.addmm(inner.bias[:, None], inner.weight, tile).relu_() + outer.bias
            for tile in tiles
        ]
        return torch.cat(scores, 1).view(planes.shape[1:])

    def _as_of(self, moments: Moments, beside: Tensor | None, scores: Tensor | None) -> Tensor:
        weight, bias = self.inner.weight, self.inner.bias.expand(len(moments.times), -1)
        if beside is not None:
            bias = bias + beside[:, None] * weight[:, -1]
        if scores is None:
            scores = torch.zeros(len(moments.times), moments.as_of.n_items)
        moments.as_of.add_network(
            scores.numpy(),
            moments.times,
            weight[:, : len(FEATURES)].numpy(),
            bias.numpy(),
            self.outer.weight[0].numpy(),
            float(self.outer.bias),
        )
        return scores
