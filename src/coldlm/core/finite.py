"""Whether numbers are finite, asked at a tenth of the cost."""

from __future__ import annotations

import torch
from torch import Tensor


def all_finite(numbers: Tensor) -> bool:
    """Return whether every number is finite. A finite sum has finite terms; where it is not, as of terms
    whose sum alone overflows, each is looked at."""
    return bool(torch.isfinite(numbers.sum())) or bool(torch.isfinite(numbers).all())
