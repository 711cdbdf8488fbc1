"""From numpy's memory to torch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def aligned(array: Any) -> Tensor:
    """Return a copy of a numpy array in torch's own, aligned memory.

    numpy's alignment varies from one array to the next, and the last bits of matrix products with
    it.
    """
    import torch

    return torch.from_numpy(array).clone()
