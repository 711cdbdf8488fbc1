"""Randomness is an argument: streams of random numbers that depend on a seed and a name, and on
nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray


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


def uniform(seed: int, name: str, codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return [n] numbers in [0, 1), one per code, that depend on the seed, the name and the code
    alone: what is drawn of one code says nothing of how many others there are (SplitMix64, Steele
    et al. 2014, figure 15)."""
    with np.errstate(over="ignore"):
        z = codes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(derive(seed, name))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**53
