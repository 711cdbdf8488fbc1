"""A space is read from YAML, and checked against the keys of every strategy before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coldlm.commands.space import Between, OneOf, asked, of_each, read
from coldlm.config.compose import compose_plain
from coldlm.core.errors import ConfigError

GOOD = """\
optim.lr: {low: 1e-4, high: 1e-1, log: true}
strategy.rank: {low: 2, high: 8, step: 2, int: true}
head.history: {choices: [3, 10]}
"""


@pytest.fixture(scope="module")
def configs() -> dict[str, dict[str, Any]]:
    tiny = ["dataset=simulated", "backbone=tiny_bert"]
    return {name: compose_plain([*tiny, f"strategy={name}"]) for name in ("frozen", "lora")}


def space_of(folder: Path, text: str) -> str:
    (folder / "space.yaml").write_text(text)
    return f"space={folder / 'space.yaml'}"


def test_a_space_is_ranges_and_choices_and_each_strategy_has_its_part(
    tmp_path: Path, configs: dict[str, dict[str, Any]]
) -> None:
    how, rest = asked(["trials=3", "sampler=tpe", space_of(tmp_path, GOOD), "seed=2"])
    assert rest == ["trials=3", "seed=2"]
    assert how.space == {
        "optim.lr": Between(1e-4, 1e-1, log=True),
        "strategy.rank": Between(2, 8, step=2, whole=True),
        "head.history": OneOf((3, 10)),
    }
    assert how.label == {
        "sampler": "tpe",
        "pruner": "none",
        "space": "optim.lr 0.0001..0.1 log; strategy.rank 2..8 int step 2; head.history 3|10",
    }
    parts = of_each(how.space, configs)
    assert list(parts["frozen"]) == ["optim.lr", "head.history"]
    assert list(parts["lora"]) == ["optim.lr", "strategy.rank", "head.history"]
    rates = {"optim.lr": OneOf((0.1, 0.2)), "optim.body_lr": Between(1e-5, 1e-3)}
    assert list(of_each(rates, configs)["frozen"]) == ["optim.lr"]  # it trains nothing of the body
    with pytest.raises(ConfigError, match="no key of strategy=frozen, all of whose trials"):
        of_each({"strategy.rank": OneOf((2, 4))}, configs)


def test_a_value_lies_in_a_range_on_its_steps_or_among_choices() -> None:
    steps = Between(2, 8, step=2, whole=True)
    assert [n for n in (0, 2, 3, 4, 8, 10, True, "4") if steps.has(n)] == [2, 4, 8]
    assert OneOf((1, "a", None)).has(None)
    assert not OneOf((1, "a")).has(True)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{low: 1, high: 0}", "a low below the high"),
        ("{low: 1}", r"allowed: \{low, high\}, with log"),
        ("3", "got 3, allowed"),
        ("{low: 1, high: 2, stp: 1}", "got stp, .* did you mean step"),
        ("{low: 1, high: 2, choices: [1, 2]}", "got low, allowed"),
        ("{low: 0, high: 2, log: true}", "needs a low above 0"),
        ("{low: 1, high: 2, log: true, step: 1}", "goes without step"),
        ("{low: 1, high: 2, step: 3}", "above 0, up to 1"),
        ("{low: 1, high: 2.5, int: true}", "needs whole numbers"),
        ("{low: 1, high: .inf}", "allowed: finite numbers"),
        ("{low: 1, high: 2, log: 1}", "allowed: true or false"),
        ("{choices: [1]}", "two or more values, each once"),
        ("{choices: [1, 1]}", "two or more values, each once"),
        ("{choices: [[1], [2]]}", "two or more values, each once"),
    ],
)
def test_an_entry_that_says_no_values_is_refused(tmp_path: Path, entry: str, message: str) -> None:
    space_of(tmp_path, f"optim.lr: {entry}\n")
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / "space.yaml")


@pytest.mark.parametrize("text", ["", "[1]", "a: [", "a: ${b}"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    space_of(tmp_path, text)
    with pytest.raises(ConfigError, match=r"space=.*space\.yaml: (got|cannot be read)"):
        read(tmp_path / "space.yaml")


def test_keys_and_values_that_do_not_fit_are_told_at_once(
    configs: dict[str, dict[str, Any]],
) -> None:
    space = {
        "optim.lrr": Between(1, 2),
        "optim.lr": Between(-1, 2),
        "strategy.rank": Between(1.0, 8.0),
        "seed": OneOf((1, 2)),
        "train.refit": OneOf((True, False)),
        "train.schedule": OneOf(("constant", "cosin")),
    }
    with pytest.raises(ConfigError) as caught:
        of_each(space, configs)
    said = str(caught.value)
    for words in (
        "optim.lrr: unknown key of strategy=frozen,lora; did you mean optim.lr?",
        "optim.lr: got -1, allowed: a number above 0",
        "strategy.rank: got 8.0, allowed: an integer from 1; add int: true",
        "seed: is none of a training's own",
        "train.refit: is none of a training's own",
        "did you mean cosine?",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sampler=tp", "allowed: random or tpe; did you mean tpe"),
        ("sampler=tpe pruner=mean", "allowed: none or median"),
        ("pruner=median", "say sampler=tpe"),
        ("space=x.yaml", "say sampler=tpe"),
        ("sampler=tpe space=nowhere.yaml", "cannot be read"),
    ],
)
def test_a_line_that_asks_for_what_there_is_not_is_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        asked(line.split())
