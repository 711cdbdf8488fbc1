"""Batches of texts larger than what memory holds of their graphs: they are encoded again going back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

TRAIN_TOKENS = 4096
"""Tokens per block with gradient."""


def within(
    graph_tokens: int | None, tokens: int, encode: Callable[..., Tensor]
) -> tuple[int, Callable[..., Tensor]]:
    """Return the tokens of each block of a batch of ``tokens``, and what encodes a block.

    A batch of more than ``graph_tokens`` is encoded without a graph in blocks of that many; once the
    loss has said what the gradient of the vectors is, block by block is encoded again, with the graph
    that takes the gradient on, and with the dropout of the first time (gradient caching, Gao et al.
    2021, section 3.2). One graph is in memory at a time.

    Args:
        graph_tokens: None for no limit.
        encode: whatever [B, ...] tensors -> the vectors of a block.
    """
    if graph_tokens is None or tokens <= graph_tokens or not torch.is_grad_enabled():
        return TRAIN_TOKENS, encode
    again: Any = partial(checkpoint, encode, use_reentrant=False, preserve_rng_state=True)
    return min(graph_tokens, TRAIN_TOKENS), again
