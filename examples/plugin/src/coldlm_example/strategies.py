"""A strategy: a function Backbone -> Backbone that says which parameters train."""

from __future__ import annotations

from torch import nn

from coldlm.core.columns import Count
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.parts.target_modules import adapt, require_staged


def norms(backbone: Backbone, *, layers: Count = 1) -> Backbone:
    """Train the weights of the layer norms in the top ``layers`` layers and nothing else, not even
    their biases: 2 * width parameters a layer.

    Raises:
        ValueError: more layers than the backbone has, or a backbone that is run as one stage.
    """
    require_staged(backbone)
    # freezes everything, and says from which layer on outputs are no longer constant
    for i in adapt(backbone, layers):
        for part in backbone.layers[i].modules():
            if isinstance(part, nn.LayerNorm):
                part.weight.requires_grad_(True)
    backbone.base_trained = (
        True  # the weights are the backbone's own, so its dropout acts where they train
    )
    return backbone
