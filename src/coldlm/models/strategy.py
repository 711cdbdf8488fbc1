"""Fine-tuning strategies: functions Backbone -> Backbone that say which parameters train. The only door to peft.

Which modules a strategy touches is written once per family, so that BERT and RoBERTa of one shape train the same number
of parameters under the same strategy.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any

from coldlm.columns import Range
from coldlm.models.backbone import Backbone

ATTENTION_INPUTS = {"bert": ["query", "value"], "roberta": ["query", "value"], "gpt2": ["c_attn"]}
"""Where LoRA goes: the query and value projections (GPT-2 keeps query, key and value in one matrix)."""

LAYERS_PATTERN = {"bert": "layer", "roberta": "layer", "gpt2": "h"}


def frozen(backbone: Backbone) -> Backbone:
    """Nothing of the backbone trains; every text is encoded once."""
    backbone.requires_grad_(False)
    backbone.depth, backbone.base_trained = len(backbone.layers) + 1, False
    return backbone


def full(backbone: Backbone) -> Backbone:
    """Every parameter trains; nothing can be cached."""
    backbone.requires_grad_(True)
    backbone.depth, backbone.base_trained = 0, True
    return backbone


def top(backbone: Backbone, *, layers: Annotated[int, Range(1)] = 1) -> Backbone:
    """The top ``layers`` transformer layers train (and GPT-2's final norm); the output below them is cached.

    Raises:
        ValueError: more layers than the backbone has.
    """
    _require(backbone, layers)
    backbone.requires_grad_(False)
    for layer in backbone.layers[-layers:]:
        layer.requires_grad_(True)
    if backbone.causal:
        backbone.model.ln_f.requires_grad_(True)
    backbone.depth, backbone.base_trained = len(backbone.layers) + 1 - layers, True
    return backbone


def lora(
    backbone: Backbone,
    *,
    rank: Annotated[int, Range(1)] = 8,
    alpha: Annotated[float, Range(0, above=True)] = 16,
    dropout: Annotated[float, Range(0, 1)] = 0.0,
    layers: Annotated[int, Range(1)] | None = None,
) -> Backbone:
    """Low-rank additions to the attention inputs of the top ``layers`` layers (all by default): Hu et al. 2021, eq. 3.

    W x becomes W x + (alpha / rank) * B A x with B = 0 at the start, so the untrained model is unchanged.

    Raises:
        ValueError: more layers than the backbone has.
    """
    from peft import LoraConfig, inject_adapter_in_model

    count = layers or len(backbone.layers)
    _require(backbone, count)
    backbone.requires_grad_(False)
    first = len(backbone.layers) - count
    scaling: Any = alpha  # peft annotates an int, and divides it
    config = LoraConfig(
        r=rank,
        lora_alpha=scaling,
        lora_dropout=dropout,
        target_modules=ATTENTION_INPUTS[backbone.family],
        layers_to_transform=list(range(first, len(backbone.layers))),
        layers_pattern=LAYERS_PATTERN[backbone.family],
        fan_in_fan_out=backbone.causal,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inject_adapter_in_model(config, backbone.model)
    backbone.depth, backbone.base_trained = first + 1, False
    return backbone


def _require(backbone: Backbone, layers: int) -> None:
    if layers > len(backbone.layers):
        raise ValueError(
            f"strategy.layers={layers}, but backbone {backbone.name!r} has {len(backbone.layers)} layers; "
            f"allowed are 1 to {len(backbone.layers)}"
        )
