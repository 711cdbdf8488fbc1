"""Randomness is an argument: streams of random numbers that depend on a seed and a name, and on
nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def derive(seed: int, *names: object) -> int:
    """Return a 63-bit seed for the stream ``names`` under ``seed``; the same on every machine."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """Return a numpy generator for the stream ``names`` under ``seed``."""
    return np.random.default_rng(derive(seed, *names))


@contextmanager
def torch_seed(seed: int, *names: object) -> Iterator[None]:
    """Inside, torch's global generator follows the stream ``names``; outside, it is as if nothing
    had happened.

    Torch's initialisers and dropout read the global generator, so this is the one place that sets
    it.
    """
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(derive(seed, *names))
        yield
