"""Fine-tuning strategies: functions Backbone -> Backbone that say which parameters train. The only door to peft.

Which modules a strategy touches is written once per family, so that BERT and RoBERTa of one shape train the same number
of parameters under the same strategy.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any

from coldlm.columns import Range
from coldlm.models.backbone import Backbone
from coldlm.models.families import attention_inputs, final_norm


def frozen(backbone: Backbone) -> Backbone:
    """Nothing of the backbone trains; every text is encoded once."""
    backbone.model.requires_grad_(False)
    backbone.depth, backbone.base_trained = backbone.stages, False
    return backbone


def full(backbone: Backbone) -> Backbone:
    """Every parameter trains; nothing can be cached."""
    backbone.model.requires_grad_(True)
    backbone.depth, backbone.base_trained = 0, True
    return backbone


def top(backbone: Backbone, *, layers: Annotated[int, Range(1)] = 1) -> Backbone:
    """The top ``layers`` transformer layers train, and the final norm where there is one; the output below them is
    cached, but not in models that are run as one stage.

    Raises:
        ValueError: more layers than the backbone has.
    """
    _require(backbone, layers)
    backbone.model.requires_grad_(False)
    for layer in backbone.layers[-layers:]:
        layer.requires_grad_(True)
    if norm := final_norm(backbone.model):
        norm.requires_grad_(True)
    backbone.train_from(len(backbone.layers) - layers)
    backbone.base_trained = True
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

    if layers:
        _require(backbone, layers)
    backbone.model.requires_grad_(False)
    first = len(backbone.layers) - (layers or len(backbone.layers))
    names = attention_inputs(backbone.model, first)
    scaling: Any = alpha  # peft annotates an int, and divides it
    config = LoraConfig(
        r=rank,
        lora_alpha=scaling,
        lora_dropout=dropout,
        target_modules=names,
        fan_in_fan_out=type(backbone.model.get_submodule(names[0])).__name__ == "Conv1D",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inject_adapter_in_model(config, backbone.model)
    backbone.train_from(first)
    backbone.base_trained = False
    return backbone


def _require(backbone: Backbone, layers: int) -> None:
    there = len(backbone.layers)
    if not there:
        raise ValueError(
            f"strategy.layers={layers}: the layers of backbone {backbone.name!r} share their weights or cannot be told "
            "apart; use strategy=full, strategy=frozen or strategy=lora with layers=null"
        )
    if layers > there:
        raise ValueError(
            f"strategy.layers={layers}, but backbone {backbone.name!r} has {there} layers; allowed are 1 to {there}"
        )
