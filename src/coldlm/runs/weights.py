"""The trained weights of a run: what trained and nothing else, as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from coldlm.core.errors import RunFolderError, first_line
from coldlm.core.files import write_file, write_json
from coldlm.core.finite import all_finite
from coldlm.models.rankers.ranker import Model
from coldlm.runs.manifest import ANEW

WEIGHTS = "model.safetensors"
"""In a run folder: what stage train has left."""


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
    try:
        state = load_file(file)
        if broken := [name for name, tensor in state.items() if not all_finite(tensor)]:
            raise ValueError(f"{broken[0]} holds numbers that are not finite")
        ranker.restore(state)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunFolderError(
            f"{file} holds no weights of this run's model ({first_line(error)}): {ANEW}"
        ) from error
