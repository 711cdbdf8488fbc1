"""What is constant of a backbone, computed for a whole catalogue by another library than torch."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coldlm.core.errors import CheckpointError

Runtime = Literal["torch", "openvino", "openvino_bf16"]

BF16 = "_bf16"
"""How the name of a runtime ends that computes in 16 bits."""

Stages = Callable[[Tensor, Tensor], Tensor]
"""[B, T] int64 token ids, and [B, T] bool, True on tokens -> [B, T, D] float32 hidden states."""


def version(runtime: Runtime) -> str:
    """Return what tells vectors of this runtime from those of others, for caches; "" for torch.

    Raises:
        CheckpointError: it cannot be used here.
    """
    return "" if runtime == "torch" else f"{runtime} {_openvino(runtime).__version__}"


def compiled(runtime: Runtime, stages: Stages) -> Stages:
    """Return the same computation by ``runtime``, on as many threads as torch has; seconds of work,
    and ``stages`` itself for torch.

    Vectors differ from torch's by rounding: of float32, or, under ``openvino_bf16``, of 8 bits.

    Raises:
        CheckpointError: it cannot be used here.
    """
    if runtime == "torch":
        return stages
    openvino = _openvino(runtime)
    # two texts of unlike length, so that what is recorded has a mask
    ids, mask = torch.ones(2, 6, dtype=torch.int64), torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of whatever a recording holds fast
        model = openvino.convert_model(_Recorded(stages), example_input=(ids, mask))
    request = openvino.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16" if runtime.endswith(BF16) else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        },
    ).create_infer_request()

    def run(ids: Tensor, mask: Tensor) -> Tensor:
        # its buffer is written to again at the next call
        return torch.tensor(request.infer([ids.numpy(), mask.numpy()], share_inputs=True)[0])

    return run


class _Recorded(nn.Module):
    """What the converter asks for: a module whose ``forward`` is recorded."""

    def __init__(self, stages: Stages) -> None:
        super().__init__()
        self.forward = stages


def _openvino(runtime: str) -> Any:
    # its converter reports its use over the network, and does without where the reporter is missing
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    openvino = importlib.import_module("openvino")
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if runtime.endswith(BF16) and "BF16" not in able:
        raise CheckpointError(
            f"backbone.runtime={runtime}: this processor has no instructions for 16 bits, and would "
            f"be slower than with 32; use backbone.runtime={runtime.removesuffix(BF16)}"
        )
    return openvino
