"""The backbone of a configuration, and what it makes of item texts."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from coldlm.config.build import build
from coldlm.config.kinds import Strategy
from coldlm.config.options import chosen, every
from coldlm.config.schema import RunConfig
from coldlm.core.columns import UNTRAINED
from coldlm.core.errors import ConfigError
from coldlm.core.progress import progress
from coldlm.core.seeding import torch_seed
from coldlm.core.tables import Ints
from coldlm.experiment.world import World
from coldlm.text.constant import RandomEncoder
from coldlm.text.encode import TextEncoder

log = logging.getLogger("coldlm")

UNKNOWN_TOKENS = 0.05
"""Share of tokens unknown to the tokenizer from which a warning is due."""

NOT_OF_A_FOLDER = {
    "hub": None,
    "revision": None,
    "package": None,
    "sha256": None,
    "keep_layers": None,
}
"""Keys that say which files a backbone is made of, or how they are cut: done when the run's own
folder was made."""


def with_own_backbone(config: RunConfig, folder: Path) -> RunConfig:
    """Return the configuration in which the backbone is what stage pretrain left in the run
    ``folder``; as it is where no such stage belongs to the run."""
    return (
        config
        if config.pretrain.objective == "off"
        else with_backbone_at(folder / "backbone", config)
    )


def with_backbone_at(path: Path, config: RunConfig) -> RunConfig:
    """Return the configuration in which the backbone is the one in the folder ``path``."""
    node = dict(config.backbone)
    if "path" not in node:  # it was made from nothing
        node = {
            "_target_": "coldlm.models.backbone.load",
            "name": f"scratch_{node['family']}",
            **{key: node[key] for key in ("pooling", "max_tokens")},
        }
    return replace(config, backbone=node | NOT_OF_A_FOLDER | {"path": str(path)})


def make_backbone(config: RunConfig) -> Any:
    """Return the backbone under its strategy, or ``RandomVectors``.

    Raises:
        CheckpointError: no usable backbone.
        ConfigError: a strategy that does not fit the backbone.
    """
    backbone = build(config.backbone)
    if not backbone.reads_text:
        return backbone
    try:
        with torch_seed(config.seed, "strategy"):
            backbone = build(config.strategy, backbone)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if backbone.matched:
        log.info("strategy.match_params chose %s", backbone.matched)
    if config.control.name == UNTRAINED:
        _leave_untrained(backbone, config)
    if not backbone.is_frozen:
        if config.trainer.gradient_checkpointing and backbone.stages == 1:
            raise ConfigError(
                f"trainer.gradient_checkpointing=true: backbone {backbone.name!r} is run as one "
                "stage, whose layers cannot be recomputed one by one; set it to false"
            )
        backbone.checkpointing = config.trainer.gradient_checkpointing
        backbone.graph_tokens = config.trainer.graph_tokens
        if config.trainer.compile:
            backbone.compile_layers()
    return backbone


def _leave_untrained(backbone: Any, config: RunConfig) -> None:
    """Make constant what the strategy has drawn. Caches must not take it for the backbone as loaded.

    Raises:
        ConfigError: the strategy has drawn nothing that shows.
    """
    if backbone.starts_untouched:
        name = chosen(Strategy, config.strategy).name
        raise ConfigError(
            f"control={UNTRAINED}: strategy={name} begins at the untouched backbone, so that "
            "strategy=frozen is what it is worth untrained; use it, or a strategy that begins elsewhere, "
            "such as prompt or prefix"
        )
    backbone.requires_grad_(False)
    backbone.depth, backbone.base_trained = backbone.stages, False
    drawn = json.dumps([dict(config.strategy), config.seed], sort_keys=True)
    backbone.fingerprint = f"{backbone.fingerprint} {drawn}"


def untrained(config: RunConfig, world: World) -> Any:
    """Return the encoder of the untouched backbone. Its strategy is frozen, so what it computes is
    kept for all runs."""
    frozen = next(option for option in every(Strategy) if not option.trains)
    plain = replace(config.control, name="none")
    touched_by_nothing = replace(config, strategy={"_target_": frozen.target}, control=plain)
    return make_encoder(config, world, make_backbone(touched_by_nothing))


def make_encoder(config: RunConfig, world: World, backbone: Any) -> Any:
    """Return what turns item codes and texts into vectors, the frozen part of the backbone
    computed."""
    items = world.data.items
    if not backbone.reads_text:
        return RandomEncoder(len(items), backbone)
    order: Ints = np.argsort(world.meets_at, kind="stable")
    # texts are encoded where they came from: the vectors are those of the run without the control
    texts = items.texts if world.data.own_texts is None else world.data.own_texts
    with progress("encoding", len(items)) as done:
        encoder = TextEncoder(
            backbone,
            texts,
            order,
            row=world.data.text_source,
            cache=Path(config.cache),
            on_block=done,
        )
    tokens = encoder.tokens
    log.info(
        "%.1f tokens a text; %d tokens lost in texts longer than %d",
        tokens.lengths.mean(),
        tokens.lost,
        backbone.max_tokens,
    )
    if tokens.unknown > UNKNOWN_TOKENS:
        log.warning(
            "%.0f %% of the tokens are unknown to the tokenizer of %s: is it a model of this "
            "language?",
            100 * tokens.unknown,
            backbone.name,
        )
    return encoder
