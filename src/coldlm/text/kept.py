"""Tensors on disk under names that tell all that they were made from, so that none is ever stale."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from coldlm.core.errors import first_line
from coldlm.core.files import write_file

log = logging.getLogger("coldlm")


def kept(file: Path, make: Callable[[], Tensor]) -> Tensor:
    """Return the tensor in ``file``; where there is none, or it is damaged, the one that ``make`` makes,
    written for the next who asks. That it cannot be read or written is told, and costs no more than
    making it again."""
    found = read(file)
    if found is not None:
        return found
    made = make().contiguous()
    about = {"sha256": _digest(made)}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, lambda part: save_file({"kept": made}, part, about))
    except (OSError, SafetensorError) as error:
        log.warning("%s cannot be written (%s): it will be made again", file, first_line(error))
    return made


def read(file: Path) -> Tensor | None:
    """Return the tensor in ``file``, None where there is none, or not the one that was written, which is
    told."""
    if not file.exists():
        return None
    try:
        with safe_open(file, "pt") as stored:
            found: Tensor = stored.get_tensor("kept")
            about = stored.metadata() or {}
    except (OSError, SafetensorError, KeyError) as error:
        why = first_line(error)
    else:
        if about.get("sha256") == _digest(found):
            return found
        why = "its numbers are not those written" if "sha256" in about else "it has no digest"
    log.warning("%s is damaged (%s): it is made again", file, why)
    return None


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy().data).hexdigest()
