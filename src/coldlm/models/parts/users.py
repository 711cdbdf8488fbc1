"""What a user's known elements say together: [B, H + 1, W] vectors -> [B, W].

Elements 0 to H - 1 are the last items, newest first; element H is the typed query or profile.
Shapes: B users, H history, W width, S = H + 1 elements.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Mean(nn.Module):
    """The plain mean of what is known, zero where nothing is."""

    def forward(self, elements: Tensor, known: Tensor) -> Tensor:
        """Return [B, W] from elements [B, S, W] and known [B, S] bool."""
        return _average(elements, known.to(elements.dtype))


class Attention(nn.Module):
    """Additive attention (NRMS, Wu et al. 2019, eq. 5-6): weights exp(w . tanh(V x_h + p_h)),
    normalised over what is known; p_h is learned per place (newest first)."""

    def __init__(self, width: int, history: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.place = nn.Parameter(torch.zeros(history + 1, width))
        self.outer = nn.Linear(width, 1, bias=False)

    def forward(self, elements: Tensor, known: Tensor) -> Tensor:
        """Return [B, W] from elements [B, S, W] and known [B, S] bool; zero where nothing is
        known."""
        return _average(elements, self.weights(elements, known))

    def weights(self, elements: Tensor, known: Tensor) -> Tensor:
        """Return [B, S] weights that sum to 1, all 0 in rows where nothing is known."""
        logits = self.outer(torch.tanh(self.inner(elements) + self.place))[:, :, 0]
        logits = logits.masked_fill(~known, -1e9)
        return torch.softmax(logits, 1) * known


class Transformer(nn.Module):
    """A causal transformer over the history, oldest first: the last known state (SASRec, Kang and
    McAuley 2018).

    x_s = e_s + p_s (eq. 2), then per layer x + Attention(LayerNorm(x)), in which a state reads
    itself and what is known before it (eq. 3-4), and x + W2 relu(W1 LayerNorm(x)) (eq. 5, section
    III.E). p is learned per place, counted from the newest. The query or profile is read first, as
    the oldest element: every later state knows it, and it is the last state itself where there is
    no history. W2 and the attention's output start at zero, so that an untrained user is its newest
    element, in the space of the items.
    """

    def __init__(self, width: int, history: int, layers: int, heads: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(history + 1, width))
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))

    def forward(self, elements: Tensor, known: Tensor) -> Tensor:
        """Return [B, W] from elements [B, S, W] and known [B, S] bool; some finite value where
        nothing is known."""
        x, known = (elements + self.place).flip(1), known.flip(1)
        length = known.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=known.device).tril()
        # an unknown state reads itself, since a softmax over nothing is not a number; nobody reads
        # it
        reads = (earlier & known[:, None, :]) | torch.eye(
            length, dtype=torch.bool, device=known.device
        )
        for layer in self.layers:
            x = layer(x, reads)
        last = (known * torch.arange(length, device=known.device)).argmax(1)
        return x[torch.arange(len(x), device=x.device), last]


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width, bias=False)
        self.joined = nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        for last in (self.joined, self.outer):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, reads: Tensor) -> Tensor:
        """Return [B, S, W] states from states; reads: [B, S, S] bool, whether a state (row) reads
        another."""
        parts = self.attend(self.before_attention(x)).chunk(3, -1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=reads[:, None])
        x = x + self.joined(read.transpose(1, 2).flatten(2))
        moved: Tensor = x + self.outer(F.relu(self.inner(self.before_network(x))))
        return moved


def _average(elements: Tensor, weight: Tensor) -> Tensor:
    total = weight.sum(1, keepdim=True)
    return (weight[:, :, None] * elements).sum(1) / total.clamp(min=1e-9)
