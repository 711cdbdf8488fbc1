"""Options are declared once: files, sources, formulas and tests are held to the declaration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from coldlm.config import options, signatures
from coldlm.config.build import NODE_GROUPS
from coldlm.config.compose import CONF, compose_plain, list_options
from coldlm.config.kinds import (
    PARTS,
    Head,
    Loss,
    Metric,
    Option,
    Regulariser,
    Scope,
    Strategy,
    Trigger,
)
from coldlm.config.options import chosen
from coldlm.config.schedules import SCHEDULES, Schedule, label_of
from coldlm.evaluate.metrics import FORMULAS

FILES = [(group, option) for group in NODE_GROUPS for option in list_options()[group]]


def node(group: str, option: str) -> dict[str, Any]:
    file = Path(CONF) / group / f"{option}.yaml"
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("group", "option"), FILES, ids="=".join)
def test_a_file_names_what_is_declared(group: str, option: str) -> None:
    assert node(group, option)["_target_"] in options.targets(group)


@pytest.mark.parametrize("group", NODE_GROUPS)
def test_every_declared_option_has_a_file(group: str) -> None:
    by_files = {node(group, option)["_target_"] for its, option in FILES if its == group}
    assert set(options.targets(group)) == by_files


@pytest.mark.parametrize(
    "option", list(options.every(Option)), ids=lambda option: f"{option.group}={option.name}"
)
def test_every_target_is_there(option: Option) -> None:
    assert signatures.is_defined(option.target)


def test_names_are_distinct() -> None:
    found = [(option.group, option.name) for option in options.every(Option)]
    assert len(set(found)) == len(found)
    assert {group for group, _ in found} <= set(options.KINDS)


def test_formulas_and_declared_metrics_agree() -> None:
    assert {option.name: option.target.rpartition(".")[2] for option in options.every(Metric)} == {
        name: formula.__name__ for name, formula in FORMULAS.items()
    }


def test_what_an_option_says_of_others_is_there() -> None:
    for head in options.every(Head):
        assert set(head.losses) <= set(options.names(Loss))
    for strategy in options.every(Strategy):
        assert strategy.size is None or strategy.size in signatures.fields_of(strategy.target)


# --- schedules --------------------------------------------------------------------------------------------------------


def parts_of(*overrides: str) -> list[dict[str, Any]]:
    """The five nodes that a command line composes."""
    online = compose_plain(["dataset=simulated", "backbone=tiny_bert", *overrides])["online"]
    return [online[kind.group.partition("/")[2]] for kind in PARTS]


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.group)
def test_options_of_a_part_have_files_of_their_names(kind: type[Option]) -> None:
    """Besides their targets: tables and messages name them as the command line does."""
    named = {option.name: option.target for option in options.every(kind)}
    assert {o: node(kind.group, o)["_target_"] for g, o in FILES if g == kind.group} == named


def test_every_schedule_has_a_file() -> None:
    assert sorted(list_options()["online"]) == sorted(s.name for s in SCHEDULES)
    assert len({schedule.parts for schedule in SCHEDULES}) == len(SCHEDULES)
    for schedule in SCHEDULES:
        for kind, name in zip(PARTS, schedule.parts, strict=True):
            assert name in options.names(kind)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_a_schedule_is_composed_of_the_parts_that_it_names(schedule: Schedule) -> None:
    parts = parts_of(f"online={schedule.name}")
    named = tuple(chosen(kind, part).name for kind, part in zip(PARTS, parts, strict=True))
    assert named == schedule.parts
    assert label_of(parts) == schedule.name


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        (["online/trigger=every_n"], "every_n"),
        (["online=replay", "online/regulariser=ewc"], "every_window+replay+ewc"),
        (["online=on_drift", "online/gate=probe"], "on_drift+probe"),
        (["online=history", "online/scope=context"], "history"),
        (["online=ewc", "online.regulariser.strength=3"], "ewc"),
    ],
)
def test_other_parts_are_called_by_what_is_not_usual(overrides: list[str], label: str) -> None:
    assert label_of(parts_of(*overrides)) == label


def test_facts_of_parts_fit_their_files() -> None:
    assert options.named(Trigger, "off").is_off
    assert [t.name for t in options.every(Trigger) if not t.updates] == ["off", "never"]
    assert [s.name for s in options.every(Scope) if s.resets] == [
        "reset_to_trained",
        "short_adapter",
        "reset_to_base",
    ]
    assert [s.name for s in options.every(Scope) if s.adapters] == ["short_adapter", "next_adapter"]
    assert [s.name for s in options.every(Scope) if s.anew] == ["next_adapter"]
    assert [r.name for r in options.every(Regulariser) if r.needs_adapter] == ["peso"]
    assert [r.name for r in options.every(Regulariser) if r.needs_replay] == ["der"]
