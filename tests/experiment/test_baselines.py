"""Baselines that read texts read profiles where that does better on validation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from coldlm.config.schema import RunConfig
from coldlm.evaluate.judge import ScoreFunction
from coldlm.experiment.baselines import READERS, Way, make_baselines, prepare_baselines
from coldlm.experiment.world import make_world

MakeConfig = Callable[..., RunConfig]


@pytest.mark.parametrize("better", ["with", "without"])
def test_profiles_are_read_where_validation_says_so(config: MakeConfig, better: str) -> None:
    world, asked = make_world(config()), list[str]()
    assert any(world.data.users.texts)
    before_anything = np.zeros(3, np.int64)  # nobody has a history yet: a profile is all there is
    users = np.arange(3)

    def measure(scorer: ScoreFunction, name: str) -> float:
        """Whether the scorer says anything of users without a history, or the opposite."""
        asked.append(name)
        knows = float(scorer(users, before_anything).double().std() > 0)
        return knows if better == "with" else -knows

    ready = prepare_baselines(config(), world, 20, measure)
    assert ready.ways == dict.fromkeys(READERS, Way(profile=better == "with"))
    assert [asked.count(name) for name in READERS] == [2, 2]
    scorers = make_baselines(ready, world, 20)
    for name in READERS:
        scores = scorers[name](users, before_anything)
        assert bool((scores != scores[:, :1]).any()) == (better == "with"), name
    assert torch.isfinite(scorers["zero_shot"](users, before_anything)).all()
