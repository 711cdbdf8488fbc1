"""Lists by columns of the item table: what is left of them, what is shown, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coldlm.cli import main
from coldlm.commands.where import Condition
from coldlm.config.signatures import fields_of
from coldlm.core.errors import ConfigError
from coldlm.experiment.run import execute


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, cache: Path, compose: Any) -> Path:
    """A trained run on 12 items, whose price is their number, the last one without any."""
    folder = tmp_path_factory.mktemp("shop")
    rows = [
        f"{i},Thing {i},{i if i < 11 else ''},{'Books' if i % 2 else 'Toys'}\n" for i in range(12)
    ]
    (folder / "items.csv").write_text("item_id,title,price,category\n" + "".join(rows))
    events = [f"u{e % 20},{e * 7 % 12},{1_600_000_000 + 3600 * e}\n" for e in range(200)]
    (folder / "events.csv").write_text("user_id,item_id,timestamp\n" + "".join(events))
    config = compose(folder / "runs", cache, "stages=[train]", "train.max_steps=1")
    target = "coldlm.data.own.load"
    own = {"_target_": target} | {key: field.default for key, field in fields_of(target).items()}
    own |= {"items": f"{folder}/items.csv", "interactions": f"{folder}/events.csv", "repeats": True}
    return execute(replace(config, dataset=own), "run")


def ask(shop: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, Any]]:
    assert main(["recommend", str(shop), "--query", "thing", "--json", *more]) == 0
    return list(json.loads(capsys.readouterr().out))


def test_conditions_choose_and_the_usual_columns_are_shown(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = ask(shop, capsys, "--k", "12")
    cheap = ask(shop, capsys, "--k", "12", "--where", "price<5", "--where", "category = Books")
    order = [place["item"] for place in everything if place["item"] in ("1", "3")]
    assert [place["item"] for place in cheap] == order
    assert [place["rank"] for place in cheap] == [1, 2]
    assert {place["price"] for place in cheap} == {"1", "3"}
    # 9 <= 10 is of numbers, and an item without a price has none
    dear = ask(shop, capsys, "--k", "12", "--where", "price>=9", "--show", "category")
    assert {place["item"] for place in dear} == {"9", "10"}
    assert list(dear[0])[-2:] == ["category", "price"]
    assert len(ask(shop, capsys, "--k", "2", "--where", "category!=Books")) == 2


def test_the_table_has_the_columns(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", str(shop), "--query", "thing", "--where", "price=7"]) == 0
    assert [
        "Thing 7" in line and "Books" in line for line in capsys.readouterr().out.splitlines()
    ].count(True) == 1
    assert main(["recommend", str(shop), "--query", "thing", "--where", "price>70"]) == 0
    assert "no item that is left has price>70" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--where", "prise<5"), "no column 'prise'; did you mean 'price'?"),
        (("--show", "brand"), "no column 'brand'"),
        (("--where", "price"), "a condition is COLUMN OP VALUE"),
        (("--where", "price<"), "a condition is COLUMN OP VALUE"),
        (("--where", "category<5"), "is no number; of text only = and !="),
        (("--where", "__import__('os')"), "a condition is COLUMN OP VALUE"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    shop: Path, capsys: pytest.CaptureFixture[str], asked: tuple[str, ...], said: str
) -> None:
    assert main(["recommend", str(shop), "--query", "thing", *asked]) == 2
    assert said in capsys.readouterr().err


def test_data_without_such_a_table_are_refused(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recommend", str(finished), "--query", "x", "--where", "price<5"]) == 2
    assert "need dataset=own" in capsys.readouterr().err


def test_signs_are_read_whole_and_numbers_compared_as_such() -> None:
    assert Condition.of("a>=10").holds("10.0")
    assert not Condition.of("a>10").holds("9")
    assert not Condition.of("a!=x").holds("")
    with pytest.raises(ConfigError, match="is no number"):
        Condition.of("a<b").holds("3")
