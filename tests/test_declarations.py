"""Options are declared once: files, sources, formulas and tests are held to the declaration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from coldlm.config import options, signatures
from coldlm.config.build import NODE_GROUPS
from coldlm.config.compose import CONF, list_options
from coldlm.config.options import Head, Loss, Metric, Option, Schedule, Strategy
from coldlm.evaluate.metrics import FORMULAS
from coldlm.online import schedules

FILES = [
    (group, option) for group in (*NODE_GROUPS, Schedule.group) for option in list_options()[group]
]


def node(group: str, option: str) -> dict[str, Any]:
    file = Path(CONF) / group / f"{option}.yaml"
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))


def named_by(group: str, option: str) -> str:
    """The target, or of a schedule the name, that a file chooses."""
    return str(node(group, option)["schedule" if group == Schedule.group else "_target_"])


@pytest.mark.parametrize(("group", "option"), FILES, ids="=".join)
def test_a_file_names_what_is_declared(group: str, option: str) -> None:
    there = options.names(Schedule) if group == Schedule.group else options.targets(group)
    assert named_by(group, option) in there


@pytest.mark.parametrize("group", [*NODE_GROUPS, Schedule.group])
def test_every_declared_option_has_a_file(group: str) -> None:
    by_files = {named_by(group, option) for its, option in FILES if its == group}
    declared = {
        option.name if group == Schedule.group else option.target for option in options.every(group)
    }
    assert declared == by_files


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


def test_schedules_and_their_module_agree() -> None:
    there = {
        name
        for name, value in vars(schedules).items()
        if getattr(value, "__module__", "") == schedules.__name__
    }
    assert set(options.names(Schedule)) == there - {"Work"}


def test_what_an_option_says_of_others_is_there() -> None:
    for head in options.every(Head):
        assert set(head.losses) <= set(options.names(Loss))
    for strategy in options.every(Strategy):
        assert strategy.size is None or strategy.size in signatures.fields_of(strategy.target)
