"""A finished run as a folder that other people use without this package: weights in the layout of peft or
transformers, tokenizer, head, and a card that says what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from coldlm.config.build import build
from coldlm.config.kinds import BackboneSource, Head, SplitRule, Strategy
from coldlm.config.options import chosen
from coldlm.config.schema import RunConfig
from coldlm.core.errors import ConfigError
from coldlm.core.files import write_json
from coldlm.experiment.card import Base, Facts, card
from coldlm.experiment.encoder import make_backbone, with_own_backbone
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.backbones.checkpoints import PRETRAINED
from coldlm.models.backbones.layouts import layout_of, save_added, save_tensors, save_whole
from coldlm.runs.last import PUSHED, weights_of
from coldlm.runs.manifest import Manifest, read_manifest
from coldlm.runs.resolved import read_config
from coldlm.runs.weights import read_backbone

QUERY: Final = "pooling.query"
"""What attention pooling asks of every token, among the head's tensors."""


@dataclass(frozen=True)
class Source:
    """What is pushed: the weights that ``stage`` has left in ``file`` of ``run``."""

    run: Path
    config: RunConfig
    manifest: Manifest
    stage: str
    file: Path


def find_source(run: Path, stage: str | None = None) -> Source:
    """Return what there is to be pushed; nothing is loaded.

    Args:
        stage: "train" or "online", None for the run's last.

    Raises:
        RunFolderError: no run there, or one without trained weights, or without those of this stage.
        ConfigError: a run that has trained no model of texts.
    """
    config, manifest = read_config(run), read_manifest(run)
    head = chosen(Head, config.head)
    why = ""
    if not chosen(BackboneSource, config.backbone).reads_text:
        why = "has a random vector in place of each text (backbone=random_vectors)"
    elif not head.trains:
        why = f"is zero-shot (head={head.name}): it has trained nothing"
    elif config.head.get("context") == "only":
        why = "reads no text (head.context=only)"
    if why:
        raise ConfigError(
            f"{run} {why}, so there is no model of texts to push; allowed are runs that train one"
        )
    found, file = weights_of(run, stage)
    return Source(run, config, manifest, found, file)


def write_push(source: Source, folder: Path, where: str | None = None) -> None:
    """Fill the empty ``folder``.

    Args:
        where: OWNER/NAME on the hub, if that is where it goes.

    Raises:
        CheckpointError: the run's backbone is not at hand.
        ConfigError: a strategy whose parts have no layout.
        RunFolderError: weights of another model.
    """
    config = with_own_backbone(source.config, source.run)
    backbone: Backbone = make_backbone(config)
    head = read_backbone(source.file, backbone)
    untouched: Backbone = build(config.backbone)
    try:
        layout = layout_of(backbone, untouched)
    except ValueError as error:
        raise ConfigError(f"{source.run}: {error}") from error
    base = Base.of(source.config)
    if layout == "whole":
        save_whole(backbone, folder)
        _tell_dates(folder, backbone.released, _trained_until(source))
    else:
        save_added(backbone, layout, folder, base=base.hub, revision=base.revision)
        backbone.tokenizer.save_pretrained(folder)
        if base.hub is None:
            save_whole(untouched, folder / "base")
            _tell_dates(folder / "base", untouched.released)
    if backbone.query is not None:
        head[QUERY] = backbone.query.detach()
    _save_head(config, backbone, head, folder / PUSHED)
    facts = Facts(source.run, source.config, source.manifest, source.stage, layout, base, where)
    (folder / "README.md").write_text(card(facts, backbone), encoding="utf-8")


def _trained_until(source: Source) -> str | None:
    """Until when a backbone has seen data in the run's own training; None where it has seen none there."""
    dates = source.manifest.data.dates
    if not chosen(Strategy, source.config.strategy).trains:
        return None
    has_seen_all = source.stage == "online" or chosen(SplitRule, source.config.split).leaks
    return str(dates["windows"][-1] if has_seen_all else dates["t_test"])


def _tell_dates(folder: Path, *until: str | None) -> None:
    """Say of a whole model how new it is at least, as stage pretrain does: runs that start from it must know."""
    if newest := max(filter(None, until), default=None):
        write_json(folder / PRETRAINED, {"texts_until": newest})


def _save_head(config: RunConfig, backbone: Backbone, state: dict[str, Tensor], file: Path) -> None:
    """In a folder of its own: beside a whole model its tensors would be taken for the model's."""
    file.parent.mkdir()
    save_tensors(state, file.with_suffix(".safetensors"))
    about: dict[str, Any] = {
        **config.head,
        "input_width": backbone.width,
        "tensors": {name: list(tensor.shape) for name, tensor in state.items()},
    }
    write_json(file, about)
