"""Every preset of ``debug`` makes another run, with values of its own, whatever an experiment says."""

from __future__ import annotations

import pytest

from coldlm.config.compose import compose_plain
from coldlm.config.schema import typed
from coldlm.config.tree import list_options
from coldlm.runs.identity import config_hash, recipe

SETS = {
    "one_batch": {"train.max_steps": 1, "online.max_steps": 1, "pretrain.max_steps": 1},
    "overfit": {"train.latest": 16, "debug.falls_to": 0.1, "stages": ["train"]},
    "profiler": {"debug.profile": True, "train.max_steps": 20},
    "limit": {"debug.events": 10_000, "train.max_steps": 50, "evaluate.queries": 300},
    "cpu": {"trainer.accelerator": "cpu", "trainer.threads": 1, "trainer.precision": "32-true"},
}


def test_every_preset_is_looked_at() -> None:
    assert {*SETS, "none"} == set(list_options()["debug"])


@pytest.mark.parametrize("name", SETS)
def test_a_preset_sets_what_it_is_for(name: str) -> None:
    overrides = ["experiment=quickstart", "trainer=gpu"]
    meant = compose_plain(overrides)
    small = compose_plain([*overrides, f"debug={name}"])
    for path, value in SETS[name].items():
        before, after = meant, small
        for key in path.split("."):
            before, after = before[key], after[key]
        assert after == value != before
    assert config_hash(typed(small)) != config_hash(typed(meant))
    assert recipe(typed(small))["debug.name"] == name
    assert "debug.name" not in recipe(typed(meant))
