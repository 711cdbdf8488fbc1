"""The model of a configuration: the backbone under its strategy, the head, and what reads the texts
for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coldlm.asof.context import AsOf
from coldlm.config.build import build
from coldlm.config.kinds import Head
from coldlm.config.options import FIRST_STAGES, chosen
from coldlm.config.schema import RunConfig
from coldlm.core.errors import CheckpointError, RunFolderError
from coldlm.core.seeding import torch_seed
from coldlm.core.tables import Bools, Ints
from coldlm.experiment.encoder import make_backbone, make_encoder, untrained, with_own_backbone
from coldlm.experiment.first_stage import make_first_stage
from coldlm.experiment.world import World
from coldlm.models.rankers.pairwise import FirstStage
from coldlm.models.rankers.ranker import Model, Ranker, Scorer
from coldlm.runs.manifest import read_manifest, refuse_other_data
from coldlm.runs.resolved import read_config
from coldlm.runs.weights import WEIGHTS, read_weights
from coldlm.text.constant import FixedEncoder
from coldlm.text.encode import TextEncoder
from coldlm.text.pairs import PairReader
from coldlm.text.prompts import PromptReader

log = logging.getLogger("coldlm")


def make_ranker(config: RunConfig, world: World) -> Model:
    """Return the untrained model: backbone under its strategy, head, and between them what reads
    the texts for that head.

    Raises:
        CheckpointError: no usable backbone, or one without a language-model head under
            ``head=causal_lm``.
        ConfigError: a strategy that does not fit the backbone.
        RunFolderError: see ``_trained_towers``.
    """
    backbone = make_backbone(config)
    with torch_seed(config.seed, "head"):
        head = build(config.head, backbone.width)
    if not build(config.loss).sees_level:
        for level in head.levels:
            level.requires_grad_(False)
    if backbone.reads_text and not head.uses_text:
        # nothing of it would be read: not the query of attention pooling either
        backbone.requires_grad_(False)
    model: Model = head.assemble(_Parts(config, world, backbone))
    return model.eval()


class _Parts:
    """What a head may be put together from (``models.parts.head.Parts``), of one backbone over one
    world."""

    def __init__(self, config: RunConfig, world: World, backbone: Any) -> None:
        self._config, self._world, self._backbone = config, world, backbone

    def vectors(self) -> Any:
        return make_encoder(self._config, self._world, self._backbone)

    def pairs(self, history: int) -> PairReader:
        reader = PairReader(self._backbone, self._world.data.items.texts)
        self._tell_what_is_cut(reader.lost, history)
        return reader

    def prompts(self, prompt: str, history: int) -> PromptReader:
        backbone = self._backbone
        if backbone.silence:
            raise CheckpointError(
                f"backbone {backbone.name!r} cannot carry head=causal_lm: {backbone.silence}"
            )
        reader = PromptReader(backbone, self._world.data.items.texts, prompt)
        self._tell_what_is_cut(reader.lost, history)
        return reader

    def is_new(self) -> Tensor:
        return torch.from_numpy(self._world.cold_items)

    def first_stage(self, name: str, history: int) -> Callable[[AsOf], FirstStage]:
        trained = partial(_trained_towers, self._config)
        return make_first_stage(self._config, self._world, name, history, trained)

    def _tell_what_is_cut(
        self, lost: Callable[[Sequence[str], Any], tuple[int, int]], history: int
    ) -> None:
        """Say how much of the stream's users is lost to truncation."""
        asked, data = self._world.stream, self._world.data
        texts = [data.users.read[place] for place in data.users.place(data.who_asks(asked))]
        n_lost, n = lost(texts, self._world.as_of.history(asked.user, asked.time, history))
        log.info(
            "%.0f %% of the tokens of users' texts are cut off (backbone.max_tokens)",
            100 * n_lost / max(n, 1),
        )


def _trained_towers(config: RunConfig, folder: Path, world: World) -> Scorer:
    """Return the two towers that the finished run in ``folder`` trained before T_test; what it
    learned online is not used, for it comes from the stream.

    Raises:
        RunFolderError: no such run there, or one over other data, another split or with another
            head.
    """
    file = folder / WEIGHTS
    if not file.is_file():
        raise RunFolderError(
            f"head.first_stage={folder}: no trained model there; allowed are "
            f"{', '.join(FIRST_STAGES)} and the folder of a finished run with head=towers"
        )
    other = read_config(folder)
    for part, its, own in (
        ("dataset", other.dataset, config.dataset),
        ("split", other.split, config.split),
        ("release_slot", other.release_slot, config.release_slot),
    ):
        if its != own:
            raise RunFolderError(
                f"head.first_stage={folder}: its {part} is {its}, this run's {own}"
            )
    refuse_other_data(read_manifest(folder), world.data.hashes, folder)
    if chosen(Head, other.head).reads_pairs:
        raise RunFolderError(
            f"head.first_stage={folder}: its head is {other.head['_target_']}; use head=towers"
        )
    if other.train.refit and config.train.validate:
        log.warning(
            "head.first_stage=%s has learned from validation too: what is stopped by it here is "
            "flattered",
            folder,
        )
    ranker = make_ranker(with_own_backbone(other, folder), world)
    read_weights(file, ranker)
    return take_snapshot(ranker, world)


def first_vectors(config: RunConfig, world: World, ranker: Model) -> Tensor:
    """Return [N, D] item vectors that training starts from; ``ranker`` has its first weights.

    Nearly every strategy is a no-op before it is trained, so these are the untouched backbone's,
    which are kept for all runs. A prefix and a prompt are none: what they read at first is encoded
    here, as the head meets it. A backbone that is frozen has its vectors already.
    """
    body = ranker.encoder.body
    has_another = body.reads_text and body.starts_untouched and not body.is_frozen
    vectors: Tensor = (untrained(config, world) if has_another else ranker.encoder).all_items()
    return vectors


def on_kept_vectors(ranker: Model, config: RunConfig) -> Model:
    """Return the trained ``ranker`` on its item vectors as constants, which are kept for the next process
    that asks these very weights; as it is where none are encoded, or what is frozen keeps them anyway."""
    encoder = ranker.encoder
    is_read = ranker.starts_from_vectors and isinstance(encoder, TextEncoder)
    if not is_read or encoder.body.is_frozen:
        return ranker
    done = dict(config.backbone), dict(config.strategy), config.control.name, config.seed
    versions = [version(library) for library in ("torch", "transformers")]
    how = json.dumps([ranker.source, done, versions], sort_keys=True)
    vectors = encoder.kept_items(Path(config.cache), how)
    return Ranker(FixedEncoder(vectors, encoder.texts), ranker.head).eval()


def grown_ranker(ranker: Model, before: World, world: World) -> Model:
    """Return the model of two towers over a ``world`` that has more items than the one ``before``; its
    weights are the ranker's own, and what it has read of the others is not read again."""
    texts = world.data.items.texts[len(before.data.items) :]
    order: Ints = np.argsort(world.meets_at, kind="stable")
    return Ranker(ranker.encoder.grown(texts, order), ranker.head).eval()


def standardise(ranker: Model, vectors: Tensor | None, known: Bools) -> None:
    """Centre and scale the head's inputs by the untrained ``vectors`` [N, D] of the items ``known``
    [N]."""
    if vectors is not None:
        ranker.head.standardise(vectors[torch.from_numpy(known)])


def take_snapshot(ranker: Model, world: World, before: Scorer | None = None) -> Scorer:
    """Return the current weights as a scorer; what has not changed since ``before`` is shared with
    it."""
    return ranker.snapshot(world.as_of, world.data.users, world.catalogue, before)
