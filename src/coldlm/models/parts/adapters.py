"""Bottleneck adapters: a small network behind a frozen dense layer. Shapes: B texts, T tokens, D
width."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Activation = Literal["gelu", "relu", "tanh"]

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "tanh": nn.Tanh}


class Adapted(nn.Module):
    """``base`` with an adapter behind it: h + W_up f(W_down h + b_down) + b_up for h = base(x)
    (Houlsby et al. 2019, section 2.1).

    W_up and b_up start at zero, so the untrained model is unchanged to the bit.

    Args:
        base: dense layer with outputs of size ``width``.
        size: of the bottleneck.
    """

    def __init__(self, base: nn.Module, *, width: int, size: int, activation: Activation) -> None:
        super().__init__()
        self.base = base
        self.down, self.up = nn.Linear(width, size), nn.Linear(size, width)
        self.activation = ACTIVATIONS[activation]()
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, T, D] from the base's input."""
        hidden: Tensor = self.base(x)
        added: Tensor = self.up(self.activation(self.down(hidden)))
        return hidden + added
