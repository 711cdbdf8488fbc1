"""Stage pretrain: the backbone learns the language of the item texts known before validation, or who took
what they are about, and lies in the run folder from then on."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from coldlm.config.build import build
from coldlm.config.schema import RunConfig
from coldlm.core.dates import iso
from coldlm.core.files import write_json
from coldlm.core.seeding import torch_seed
from coldlm.core.tables import TRAIN
from coldlm.core.tracked import Tell
from coldlm.experiment.encoder import make_backbone, with_backbone_at
from coldlm.experiment.state import State
from coldlm.experiment.world import World
from coldlm.learn.fit import Budget, Machine
from coldlm.learn.pretrain import pretrain
from coldlm.learn.reading import Takers, Texts
from coldlm.models.backbone import load
from coldlm.models.backbones.checkpoints import PRETRAINED, find
from coldlm.models.backbones.families import quiet
from coldlm.models.backbones.objectives import open_objective
from coldlm.models.backbones.scratch import random_model, train_tokenizer

log = logging.getLogger("coldlm")


def run(state: State) -> None:
    """Show the backbone the item texts known before validation, and maybe who took what; later stages use
    what comes of it."""
    inputs = state.inputs
    about = pretrain_backbone(
        inputs.config,
        inputs.world,
        inputs.record.folder,
        inputs.machine,
        inputs.record.track.training("pretrain"),
    )
    state.manifest.pretrain = about
    state.manifest.seconds["pretrain"] = about["seconds"]


def known_texts(world: World) -> list[str]:
    """Return the distinct texts of the items that could be met before T_val, as they were known
    strictly before it.

    Where texts are permuted among items (a control), they are those of the run without the control.
    """
    return [text for text in dict.fromkeys(_if_met(_texts_at_t_val(world), world)) if text]


def _texts_at_t_val(world: World) -> list[str]:
    """[N] each item's own, as known strictly before T_val."""
    data, t_val = world.data, world.split.t_val
    texts = data.items.texts
    if data.texts_as_of is not None:
        # under the grid rule too: what is written in a slot is not known at its start here
        texts = data.texts_as_of(
            np.full(len(texts), t_val, np.int64), np.zeros(len(texts), np.int64)
        )[0]
    elif data.own_texts is not None:
        texts = data.own_texts
    return list(texts)


def _if_met(texts: list[str], world: World) -> list[str]:
    """[N], "" of an item that nobody could meet before T_val."""
    is_met = world.meets_at < world.split.t_val
    return [text if met else "" for text, met in zip(texts, is_met, strict=True)]


def known_takers(world: World, items: int) -> Takers:
    """Return who took two items or more before T_val, and what is written about these items: where texts are
    permuted among items (a control), those that the control gives them.

    Args:
        items: that a batch reads.
    """
    texts, data = _texts_at_t_val(world), world.data
    if data.text_source is not None:
        texts = [texts[source] for source in data.text_source]
    rows = world.visible(world.split.rows(TRAIN), world.split.t_val)
    rows = rows[data.log.positive[rows] & ~world.probe[rows]]
    return Takers.of(data.log.user[rows], data.log.item[rows], _if_met(texts, world), items)


def pretrain_backbone(
    config: RunConfig, world: World, folder: Path, machine: Machine, tell: Tell
) -> dict[str, Any]:
    """Pre-train, and leave config.json, tokenizer and weights in ``folder``/backbone; what the
    manifest says of it.

    Raises:
        CheckpointError: no usable backbone, or an objective that does not fit it.
        ConfigError: a strategy that does not fit it; nothing has been trained then.
        DataError: too few texts.
        Diverged: the loss stopped being finite.
    """
    asked, seed = config.pretrain, config.seed
    takers = None if asked.items is None else known_takers(world, asked.items)
    texts = known_texts(world) if takers is None else list(takers.texts)
    until = iso(world.split.t_val)
    log.info(
        "pre-training (%s) on %d item texts%s known before %s",
        asked.objective,
        len(texts),
        "" if takers is None else f" and {len(takers)} {takers.what}",
        until,
    )
    with (
        TemporaryDirectory(dir=folder, prefix=".backbone.") as scratch,
        torch_seed(seed, "pretrain"),
    ):
        start, backbone = _begin(config.backbone, texts, Path(scratch), seed)
        # what would be refused after training is refused now
        make_backbone(with_backbone_at(start, config) if start == Path(scratch) else config)
        objective = open_objective(
            asked.objective,
            start,
            backbone,
            dropout=config.backbone.get("dropout"),
            keep_layers=config.backbone.get("keep_layers"),
            mask_share=asked.mask_share,
            temperature=asked.temperature,
        )
    texts = [backbone.item_prefix + text for text in texts]
    done = pretrain(
        objective,
        Texts(texts) if takers is None else replace(takers, texts=texts),
        Budget(
            epochs=asked.epochs,
            max_steps=asked.max_steps,
            max_seconds=asked.max_seconds,
            warmup=config.train.warmup,
            clip=config.train.clip,
        ),
        machine,
        lr=asked.lr,
        batch_size=asked.batch_size,
        held_out=asked.held_out,
        seed=seed,
        tell=tell,
    )
    log.info(
        "held-out loss %.3f before, %.3f after epoch %d of %d (%d steps, %.0f s)",
        *(done.before, done.after, done.epochs, len(done.losses), done.steps, done.seconds),
    )
    if done.after >= done.before:
        log.warning(
            "pre-training did not lower the held-out loss: lower pretrain.lr, or leave the stage "
            "out"
        )
    about = {
        "objective": asked.objective,
        "dataset": world.data.name,
        "texts_until": until,
        **asdict(done),
    }
    about["parameters"] = sum(p.numel() for p in objective.model.parameters())
    with TemporaryDirectory(dir=folder, prefix=".backbone.") as part:
        objective.save(Path(part) / "backbone")
        write_json(Path(part) / "backbone" / PRETRAINED, about)
        shutil.rmtree(folder / "backbone", ignore_errors=True)
        (Path(part) / "backbone").replace(folder / "backbone")
    return about


def _begin(node: Mapping[str, Any], texts: list[str], folder: Path, seed: int) -> tuple[Path, Any]:
    """The folder from which training starts, and its backbone: the checkpoint's, or a random one
    made in ``folder``."""
    spec = build(node)
    if spec.has_weights:
        places = {
            key: node[key] for key in ("name", "hub", "revision", "package", "path", "sha256")
        }
        return find(**places), spec
    tokenizer = train_tokenizer(texts, spec.vocabulary, spec.family)
    shape = {
        "layers": spec.layers,
        "width": spec.width,
        "heads": spec.heads,
        "positions": spec.max_tokens + 2,
    }
    with quiet():
        random_model(spec.family, tokenizer, **shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, load(
        name="scratch", path=str(folder), pooling=spec.pooling, max_tokens=spec.max_tokens
    )
