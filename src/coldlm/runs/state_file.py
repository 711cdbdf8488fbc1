"""Tensors and facts in one file, written at once and checked when read: what a stage that was
interrupted goes on from. Nothing in it can be executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from coldlm.core.errors import RunFolderError
from coldlm.core.files import write_file


def write_state(file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write ``tensors`` and ``facts`` (as JSON) with a checksum over both, in place of what was
    there."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(facts)
    about = {"facts": text, "checksum": _checksum(whole, text)}
    write_file(file, lambda part: save_file(whole, part, about))


def read_state(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what was written.

    Raises:
        RunFolderError: the file is damaged.
    """
    try:
        with safe_open(file, "pt") as opened:
            about = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if about["checksum"] != _checksum(tensors, about["facts"]):
            raise ValueError("its checksum is another")
        facts: dict[str, Any] = json.loads(about["facts"])
        return tensors, facts
    except Exception as error:
        raise RunFolderError(
            f"{file} is damaged ({type(error).__name__}: {error}); remove it, and the stage begins "
            "anew"
        ) from error


def _checksum(tensors: Mapping[str, Tensor], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        if tensor.numel():  # an empty one has no bytes to look at
            digest.update(tensor.reshape(-1).view(uint8).numpy().tobytes())
    return digest.hexdigest()
