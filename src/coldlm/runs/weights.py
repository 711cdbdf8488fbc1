"""The trained weights of a run: what trained and nothing else, as safetensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from coldlm.core.errors import RunFolderError, first_line
from coldlm.core.files import write_file, write_json
from coldlm.core.finite import all_finite
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.rankers.ranker import Model
from coldlm.runs.last import LEFT_BY
from coldlm.runs.manifest import ANEW

WEIGHTS = LEFT_BY["train"]
"""In a run folder: what stage train has left."""

BODY, HEAD = "encoder.body.", "head."
"""What the names of a backbone's tensors, and of a head's, begin with."""


def save_weights(file: Path, ranker: Model, belongs: Mapping[str, Any]) -> int:
    """Write the trainable weights, and beside them as JSON what they belong to; the bytes that they
    take."""
    state = {key: tensor.cpu().contiguous() for key, tensor in ranker.trainable().items()}
    write_file(file, lambda part: save_file(state, part))
    tensors = {key: list(tensor.shape) for key, tensor in state.items()}
    write_json(file.with_suffix(".json"), {**belongs, "tensors": tensors})
    return file.stat().st_size


def read_weights(file: Path, ranker: Model) -> None:
    """Put the trained weights that a run left in ``file`` into ``ranker``, the model of its
    configuration.

    Raises:
        RunFolderError: the file is damaged, or holds the weights of another model.
    """
    _restore(file, ranker.restore)


def read_backbone(file: Path, backbone: Backbone) -> dict[str, Tensor]:
    """Put what a run has trained of its backbone from ``file`` into ``backbone``, the one of its configuration under
    its strategy; return the head's tensors, by the names that they have in it. No data are needed.

    Raises:
        RunFolderError: see ``read_weights``.
    """
    head: dict[str, Tensor] = {}

    def restore(state: dict[str, Tensor]) -> None:
        body = {k.removeprefix(BODY): tensor for k, tensor in state.items() if k.startswith(BODY)}
        own = {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}
        lacking = {n for n, p in backbone.named_parameters() if p.requires_grad} - body.keys()
        if wrong := sorted(lacking | (body.keys() - own.keys())):
            raise KeyError(f"checkpoint and model differ in {wrong[:5]}")
        with torch.no_grad():
            for name, tensor in body.items():
                if tensor.shape != own[name].shape:
                    raise ValueError(f"{name} is {[*tensor.shape]}, not {[*own[name].shape]}")
                own[name].copy_(tensor)
        head.update({k.removeprefix(HEAD): t for k, t in state.items() if k.startswith(HEAD)})

    _restore(file, restore)
    return head


def _restore(file: Path, restore: Callable[[dict[str, Tensor]], None]) -> None:
    """Give what lies in ``file`` to ``restore``."""
    try:
        state = load_file(file)
        if broken := [name for name, tensor in state.items() if not all_finite(tensor)]:
            raise ValueError(f"{broken[0]} holds numbers that are not finite")
        restore(state)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunFolderError(
            f"{file} holds no weights of this run's model ({first_line(error)}): {ANEW}"
        ) from error
