"""The model that a configuration makes over a world. Shared by training and recommending."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coldlm.config.check.check import build
from coldlm.config.check.schema import FIRST_STAGES
from coldlm.core.errors import CheckpointError, RunFolderError
from coldlm.core.seeding import torch_seed
from coldlm.core.tables import Bools
from coldlm.experiment.first_stage import make_first_stage
from coldlm.experiment.stages.pretrain import with_own_backbone
from coldlm.experiment.world import World, make_backbone, make_encoder, untrained
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.causal_lm import CausalLM
from coldlm.models.pair import Pair
from coldlm.models.rankers.pairwise import PairRanker, PairSnapshot
from coldlm.models.rankers.ranker import Model, Ranker, Scorer
from coldlm.models.rankers.snapshot import Snapshot
from coldlm.runs.manifest import read_manifest, refuse_other_data
from coldlm.runs.record import read_config, read_weights
from coldlm.text.pairs import PairReader
from coldlm.text.prompts import PromptReader

log = logging.getLogger("coldlm")


def make_ranker(config: Mapping[str, Any], world: World) -> Model:
    """The untrained model: backbone under its strategy, head, and between them what reads the texts for that head.

    Raises:
        CheckpointError: no usable backbone, or one without a language-model head under ``head=causal_lm``.
        ConfigError: a strategy that does not fit the backbone.
        RunFolderError: see ``_trained_towers``.
    """
    backbone = make_backbone(config)
    with torch_seed(config["seed"], "head"):
        head = build(config["head"], backbone.width)
    if not build(config["loss"]).sees_level:
        for level in head.levels:
            level.requires_grad_(False)
    if not head.uses_text and isinstance(backbone, Backbone):
        backbone.requires_grad_(False)  # nothing of it would be read: not the query of attention pooling either
    if not isinstance(head, Pair | CausalLM):
        return Ranker(make_encoder(config, world, backbone), head).eval()
    if isinstance(head, CausalLM) and backbone.silence:
        raise CheckpointError(f"backbone {backbone.name!r} cannot carry head=causal_lm: {backbone.silence}")
    stage = make_first_stage(config, world, partial(_trained_towers, config))
    texts = world.data.items.texts
    reader = PairReader(backbone, texts) if isinstance(head, Pair) else PromptReader(backbone, texts, head.prompt)
    _warn_of_long_texts(reader, world, head.history)
    return PairRanker(reader, head, stage).eval()


def _trained_towers(config: Mapping[str, Any], folder: Path, world: World) -> Snapshot:
    """The two towers that the finished run in ``folder`` trained before T_test; what it learned online is not used, for
    it comes from the stream.

    Raises:
        RunFolderError: no such run there, or one over other data, another split or with another head.
    """
    file = folder / "model.safetensors"
    if not file.is_file():
        raise RunFolderError(
            f"head.first_stage={folder}: no trained model there; allowed are {', '.join(FIRST_STAGES)} and the folder "
            "of a finished run with head=towers"
        )
    other = read_config(folder)
    for part in ("dataset", "split"):
        if other[part] != config[part]:
            raise RunFolderError(f"head.first_stage={folder}: its {part} is {other[part]}, this run's {config[part]}")
    refuse_other_data(read_manifest(folder), world.data.hashes, folder)
    if other["split"]["refit"] and config["train"]["validate"]:
        log.warning(
            "head.first_stage=%s has learned from validation too: what is stopped by it here is flattered", folder
        )
    ranker = make_ranker(with_own_backbone(other, folder), world)
    if not isinstance(ranker, Ranker):
        raise RunFolderError(f"head.first_stage={folder}: its head is {other['head']['_target_']}; use head=towers")
    read_weights(file, ranker)
    return Snapshot(ranker, world.as_of, world.data.users, len(world.data.items))


def _warn_of_long_texts(reader: PairReader | PromptReader, world: World, history: int) -> None:
    """Say how much of the stream's users is lost to truncation."""
    asked, users = world.stream, world.data.users.texts
    texts = [users[user] for user in asked.user]
    lost, total = reader.lost(texts, world.as_of.history(asked.user, asked.time, history))
    log.info("%.0f %% of the tokens of users' texts are cut off (backbone.max_tokens)", 100 * lost / max(total, 1))


def first_vectors(config: Mapping[str, Any], world: World, ranker: Model) -> Tensor:
    """[N, D] item vectors that training starts from; ``ranker`` has its first weights.

    Nearly every strategy is a no-op before it is trained, so these are the untouched backbone's, which are kept for all
    runs. A prefix and a prompt are none: what they read at first is encoded here, as the head meets it.
    """
    body = getattr(ranker.encoder, "body", None)
    starts_untouched = not isinstance(body, Backbone) or body.starts_untouched
    vectors: Tensor = (untrained(config, world) if starts_untouched else ranker.encoder).all_items()
    return vectors


def standardise(ranker: Model, vectors: Tensor | None, known: Bools) -> None:
    """Centre and scale the head's inputs by the untrained ``vectors`` [N, D] of the items ``known`` [N]."""
    if vectors is not None:
        ranker.head.standardise(vectors[torch.from_numpy(known)])


def take_snapshot(ranker: Model, world: World) -> Scorer:
    """The current weights as a scorer."""
    if isinstance(ranker, PairRanker):
        return PairSnapshot(ranker, world.as_of, world.data.users, world.catalogue)
    assert isinstance(ranker, Ranker)
    return Snapshot(ranker, world.as_of, world.data.users, len(world.data.items))
