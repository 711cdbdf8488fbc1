"""The model that a configuration makes over a world. Shared by training and recommending."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from coldlm.config import build
from coldlm.models.ranker import Live, Model, Ranker
from coldlm.models.snapshot import Snapshot
from coldlm.seeding import torch_seed
from coldlm.tables import Bools
from coldlm.world import World, make_backbone, make_encoder


def make_ranker(config: Mapping[str, Any], world: World) -> Model:
    """The untrained model: backbone under its strategy, encoder with the frozen part computed, head.

    Raises: what ``world.make_backbone`` raises.
    """
    encoder = make_encoder(config, world, make_backbone(config))
    with torch_seed(config["seed"], "head"):
        head = build(config["head"], encoder.width)
    return Ranker(encoder, head).eval()


def standardise(ranker: Model, vectors: Tensor | None, known: Bools) -> None:
    """Centre and scale the head's inputs by the untrained ``vectors`` [N, D] of the items ``known`` [N]."""
    if vectors is not None:
        ranker.head.standardise(vectors[torch.from_numpy(known)])


def take_snapshot(ranker: Model, world: World) -> Live:
    """The current weights as a scorer."""
    assert isinstance(ranker, Ranker)
    return Snapshot(ranker, world.as_of, world.data.users, len(world.data.items))
