"""What a strategy has drawn and never trained."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coldlm.core.errors import ConfigError
from coldlm.experiment.model import make_ranker
from coldlm.experiment.world import make_world

CONTROL = "control=untrained_strategy"


def vectors(config, *overrides: str) -> tuple[Tensor, int]:
    """Of all items before training, and the number of the encoder's parameters that train."""
    asked = config("backbone=tiny_bert", "backbone.width=16", "backbone.layers=2", *overrides)
    encoder = make_ranker(asked, make_world(asked)).encoder
    trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    return encoder.all_items(), trained


@pytest.mark.parametrize("strategy", ["prompt", "prefix"])
def test_vectors_are_those_of_the_strategy_before_training_and_stay_so(config, strategy) -> None:
    drawn = f"strategy={strategy}", "strategy.length=3"
    own, n = vectors(config, *drawn)
    control, none = vectors(config, *drawn, CONTROL)
    assert n > 0 == none
    assert torch.allclose(control, own, atol=1e-5)
    untouched, _ = vectors(config)
    assert not torch.allclose(control, untouched, atol=1e-4)
    # what was kept of one draw is not taken for that of another, nor for the backbone's own
    again, _ = vectors(config, *drawn, CONTROL)
    other, _ = vectors(config, *drawn, CONTROL, "seed=7")
    longer, _ = vectors(config, f"strategy={strategy}", "strategy.length=5", CONTROL)
    assert torch.equal(again, control)
    assert not torch.equal(other, control)
    assert not torch.equal(longer, control)


def test_a_strategy_that_begins_untouched_is_refused(config) -> None:
    with pytest.raises(ConfigError, match="strategy=lora begins at the untouched backbone"):
        vectors(config, "strategy=lora", "strategy.rank=2", CONTROL)
