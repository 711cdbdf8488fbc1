"""Tensors on disk under names that tell all that they were made from, so that none is ever stale."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from coldlm.core.errors import first_line
from coldlm.core.files import write_file

log = logging.getLogger("coldlm")


def kept(file: Path, make: Callable[[], Tensor]) -> Tensor:
    """Return the tensor in ``file``; where there is none, or it is damaged, which is told, the one that
    ``make`` makes, written for the next who asks."""
    if file.is_file():
        try:
            return load_file(file)["kept"]
        except (OSError, SafetensorError, KeyError) as error:
            log.warning("%s is damaged (%s): it is made again", file, first_line(error))
    made = make().contiguous()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, lambda part: save_file({"kept": made}, part))
    return made
