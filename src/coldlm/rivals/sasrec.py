"""Self-attention over a user's last items."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldlm.core.seeding import torch_seed
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.known import Known
from coldlm.rivals.learned import WIDTH
from coldlm.rivals.sequences import DROPOUT, Sequential, fit_sequences

BLOCKS, HEADS = 2, 2


def sasrec(known: Known, rate: float) -> ScoreFunction:
    """Return h . q_i, where h is the last state of two blocks of causal self-attention over the user's
    last items (Kang and McAuley 2018, "Self-attentive sequential recommendation", section III, norms
    before each part), learned by cross-entropy instead of one negative, as Klenitskiy
    and Vasilev 2023 ("Turning dross into gold loss") have it, over sampled candidates of the event's
    time. Items that nobody took in what was learned from tie below all others."""
    with torch_seed(known.seed, "sasrec"):
        network = SelfAttention(len(known.data.items), known.history + 1)
        return fit_sequences(known, network, "sasrec", rate)


class SelfAttention(Sequential):
    """Blocks of causal self-attention over items and places."""

    def __init__(self, n_items: int, length: int) -> None:
        super().__init__(n_items)
        self.places = nn.Parameter(torch.randn(length, WIDTH) * 0.02)
        self.blocks = nn.ModuleList(_Block() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(DROPOUT)

    def states(self, inputs: Tensor) -> Tensor:
        """[B, L] -> [B, L, D]."""
        x = F.embedding(inputs, self.items) * WIDTH**0.5 + self.places[: inputs.shape[1]]
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x)
        return states


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.asked, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.feed = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, WIDTH)
        )
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in self.asked(self.before(x)).chunk(3, dim=2)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.out(mixed))
        fed: Tensor = x + self.dropout(self.feed(self.between(x)))
        return fed
