"""What a configuration makes: the data, its cuts, and a model that depends on the seed alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from coldlm.config.schema import RunConfig
from coldlm.core.errors import ConfigError, DataError
from coldlm.core.tables import STREAM, TRAIN, VALIDATION
from coldlm.experiment.model import make_ranker, take_snapshot
from coldlm.experiment.world import World, cut, make_world
from coldlm.runs.weights import read_weights

MakeConfig = Callable[..., RunConfig]


@pytest.fixture
def world(config: MakeConfig) -> World:
    return make_world(config())


def test_every_event_is_in_one_part(world: World) -> None:
    log, split = world.data.log, world.split
    assert len(split.part) == len(log)
    assert log.time[split.rows(TRAIN)[-1]] < split.t_val <= log.time[split.rows(VALIDATION)[0]]
    assert log.time[split.rows(VALIDATION)[-1]] < split.t_test <= log.time[split.rows(STREAM)[0]]
    assert (world.validation.time >= split.t_val).all()
    assert (world.validation.time < split.t_test).all()
    assert (world.stream.time >= split.t_test).all()
    assert sorted(set(world.stream.window)) == list(range(split.n_windows))


def test_the_split_is_told_when_the_log_starts(config: MakeConfig, world: World) -> None:
    data, settled = world.data, config()
    split = cut(settled, replace(data, log_starts_at=int(data.log.time[300])))
    assert not split.part[:300].any()
    assert np.bincount(split.part[300:]).tolist() == pytest.approx([210, 30, 60], abs=2)
    assert np.array_equal(cut(settled, data).part, world.split.part)


def test_cold_means_without_any_positive_before_the_stream(world: World) -> None:
    past = world.data.log.rows(world.split.rows(TRAIN, VALIDATION))
    assert set(np.flatnonzero(~world.cold_items)) == set(past.item)
    assert set(np.flatnonzero(~world.cold_users)) == set(past.user)
    assert world.cold_items.any()
    assert world.cold_users.any()


def test_a_memory_that_ends_knows_nothing_later(world: World) -> None:
    past = world.memory_of_the_past()
    users, items = np.arange(len(world.data.users)), np.arange(len(world.data.items))
    end = world.data.log.time[-1:] + 1
    expected = np.bincount(
        world.data.log.item[world.split.rows(TRAIN, VALIDATION)], minlength=len(items)
    )
    assert past.n_item(items, end).tolist() == expected.tolist()
    assert world.as_of.n_user(users, end).sum() == len(world.data.log)


def test_permuted_texts_stay_the_same_texts_on_other_items(config: MakeConfig) -> None:
    plain, permuted = make_world(config()).data, make_world(config("control=permuted_text")).data
    assert sorted(plain.items.texts) == sorted(permuted.items.texts)
    assert all(a != b for a, b in zip(plain.items.texts, permuted.items.texts, strict=True))
    assert plain.items.titles == permuted.items.titles
    within = make_world(config("control=permuted_in_cohort"))
    assert within.data.items.texts != permuted.items.texts
    assert within.data.own_texts == plain.items.texts
    assert within.data.items.titles == plain.items.titles
    source = within.data.text_source
    assert source is not None
    first_query = min(within.validation.time[0], within.stream.time[0])
    enters = np.maximum(within.meets_at, first_query)
    assert (enters[source] <= enters).all()


def test_the_same_seed_makes_the_same_model(config: MakeConfig, world: World) -> None:
    one, same = (make_ranker(config("strategy=lora"), world).trainable() for _ in range(2))
    other = make_ranker(config("strategy=lora", "seed=2"), world).trainable()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_models_start_does_not_depend_on_what_was_random_before(
    config: MakeConfig, world: World
) -> None:
    one = make_ranker(config(), world).trainable()
    torch.manual_seed(7)
    before = torch.rand(3)
    torch.manual_seed(7)
    again = make_ranker(config(), world).trainable()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert torch.equal(torch.rand(3), before)


@pytest.mark.parametrize(
    ("overrides", "still"),
    [
        ((), ["head.prior.bias", "head.fusion.context.outer.bias"]),
        (("loss=full_softmax", "head.context=off"), ["head.prior.bias"]),
        (("loss=infonce", "head.context=only"), ["head.fusion.context.outer.bias"]),
        (("loss=bpr",), ["head.prior.bias", "head.fusion.context.outer.bias"]),
        (("head.fusion=gate",), []),
        (("loss=binary_cross_entropy",), []),
    ],
)
def test_a_level_trains_only_under_a_loss_that_sees_it(
    overrides: tuple[str, ...], still: list[str], config: MakeConfig, world: World
) -> None:
    ranker = make_ranker(config(*overrides), world)
    heads = {name: p for name, p in ranker.named_parameters() if name.startswith("head.")}
    assert [name for name, p in heads.items() if not p.requires_grad] == still
    assert heads.keys() <= ranker.trainable().keys()


def test_weights_saved_when_every_level_trained_are_read(
    config: MakeConfig, world: World, tmp_path: Path
) -> None:
    ranker = make_ranker(config("strategy=lora"), world)
    # what a checkpoint held before losses said whether they see a level: all of the head, and what
    # trains of the body
    saved = {f"head.{name}": tensor.clone() for name, tensor in ranker.head.state_dict().items()}
    saved |= {name: p.detach().clone() for name, p in ranker.named_parameters() if p.requires_grad}
    saved |= {
        name: torch.full_like(saved[name], 0.3)
        for name in ("head.prior.bias", "head.fusion.context.outer.bias")
    }
    save_file(saved, tmp_path / "model.safetensors")
    read_weights(tmp_path / "model.safetensors", ranker)
    assert ranker.trainable().keys() == saved.keys()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in ranker.trainable().items())


def test_a_snapshot_is_deaf_to_later_training(config: MakeConfig, world: World) -> None:
    ranker = make_ranker(config("strategy=full"), world)
    asked = world.stream.user[:3], world.stream.time[:3]
    snapshot = take_snapshot(ranker, world)
    before = snapshot(*asked)
    with torch.no_grad():
        for parameter in ranker.parameters():
            parameter.add_(1.0)
    assert torch.equal(snapshot(*asked), before)


def test_a_strategy_that_does_not_fit_is_a_problem_of_the_configuration(
    config: MakeConfig, world: World
) -> None:
    bad = config("strategy=top")
    bad.strategy["layers"] = 3
    with pytest.raises(
        ConfigError, match=r"strategy.*layers=3, but backbone 'tiny_bert' has 2 layers"
    ):
        make_ranker(bad, world)


def test_what_a_reader_refuses_arrives_as_it_was_said(config: MakeConfig) -> None:
    bad = config()
    bad.dataset["events"] = 100_000
    with pytest.raises(DataError, match=r"^dataset\.events=100000: at most 600"):
        make_world(bad)


def test_a_tokenizer_of_another_language_is_warned_of(
    config: MakeConfig,
    world: World,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # whatever a command has made of it before
    logger = logging.getLogger("coldlm")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "disabled", False)
    caplog.set_level(logging.INFO, logger="coldlm")
    make_ranker(config(), world)
    assert "unknown" not in caplog.text
    monkeypatch.setattr("coldlm.experiment.encoder.UNKNOWN_TOKENS", -1.0)
    make_ranker(config(), world)
    assert "is it a model of this language?" in caplog.text


def test_behind_an_origins_stream_nothing_happened(config: MakeConfig, world: World) -> None:
    first, last = (
        make_world(config("split.origins=2", f"split.origin={o}", "split.windows=2"))
        for o in (1, 2)
    )
    assert len(first.data.log) < len(world.data.log) == len(last.data.log)
    assert first.data.log.time[-1] < last.split.t_test
    assert len(first.split.part) == len(first.data.log)
    assert len(first.stream.event) + len(last.stream.event) == len(world.stream.event)
    late = world.data.log.item[len(first.data.log) :]
    only_late = np.setdiff1d(late, first.data.log.item)
    unknown = first.data.items.released_at[only_late] > first.data.log.time[-1]
    assert not first.entered_by(int(first.data.log.time[-1]) + 1)[only_late[unknown]].any()
