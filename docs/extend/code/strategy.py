"""A strategy: only the layer norms of the backbone train."""

from __future__ import annotations

from torch import nn

from coldlm.models.backbones.backbone_module import Backbone


def norms(backbone: Backbone) -> Backbone:
    """Scale and shift of every layer norm train, and nothing else."""
    backbone.model.requires_grad_(False)
    for module in backbone.model.modules():
        if isinstance(module, nn.LayerNorm):
            module.requires_grad_(True)
    # BERT and RoBERTa have a norm above the embeddings, GPT-2 has none: there the first stage is
    # constant
    backbone.depth = int(backbone.family == "gpt2")
    backbone.base_trained = True
    return backbone
