"""What is typed on a command line: read where it can mean one thing only, else told how to type
it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from coldlm.cli import main
from coldlm.config.compose import compose_plain, make_plan
from coldlm.config.quoting import problem, readable
from coldlm.core.errors import ConfigError

TINY = ["backbone=tiny_bert", "dataset=simulated"]


@pytest.mark.parametrize(
    "value",
    [
        "数据/商品.csv",
        "{title} | {topic}",
        "{title}",
        "a(1).csv",
        "a=b",
        "5;6",
        "c#",
        "it's 数",
        'say "no" 数',
        "both ' and \" in 数",
        "back\\数\\",
    ],
)
def test_what_can_mean_one_thing_only_is_quoted(value: str) -> None:
    (text,) = readable([f"dataset.text={value}"])
    assert OverridesParser.create().parse_override(text).value() == value
    assert problem(text) is None


@pytest.mark.parametrize(
    "text",
    ["seed=1,2", "seed=range(1,3)", "a=null", "a=[1,2]", "a={b: 1}", "a='数'", "~a", "+a=x y"],
)
def test_what_can_be_read_is_left_alone(text: str) -> None:
    assert readable([text]) == [text]
    assert problem(text) is None


@pytest.mark.parametrize("value", ["数,据", "{title}, {topic}", "a,~/b", "[数,x]"])
def test_what_may_be_a_sweep_is_refused_with_what_to_type(value: str) -> None:
    assert readable([f"dataset.text={value}"]) == [f"dataset.text={value}"]
    said = str(problem(f"dataset.text={value}"))
    assert "token recognition" not in said
    forms = [
        word for word in shlex.split(said.replace(";", " ")) if word.startswith("dataset.text=")
    ][1:]
    assert forms
    for form in forms:  # what is told can be typed
        assert problem(form) is None, form


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a='x", "quotes and brackets go in pairs"),
        ("a=[1", "quotes and brackets go in pairs"),
        ("seed", "there is no = in it"),
        ("训练=1", "a key in plain letters"),
        ("=x", "a key in plain letters"),
        ("seed=choice()", "empty choice is not legal"),
    ],
)
def test_what_is_broken_is_told_in_words(text: str, said: str) -> None:
    assert said in str(problem(text))


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compose_plain([*TINY, "output=~/runs"])["output"] == str(tmp_path / "runs")


def test_nothing_is_said_of_a_key_whose_value_cannot_be_read() -> None:
    found = make_plan(
        [
            "backbone=tiny_bert",
            "dataset=own",
            "dataset.items=数,b.csv",
            "dataset.interactions=x.csv",
        ]
    ).problems
    assert [line.split(":")[0] for line in found] == [
        "dataset.items=数,b.csv",
        "dataset.interactions",
    ]


def test_one_value_with_a_comma_is_told_how_to_type() -> None:
    assert make_plan([*TINY, "output=a,b.csv"]).problems == [
        "output=a,b.csv: several values are a sweep; add -m; or as one value, type "
        "'output=\"a,b.csv\"'"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset=null", "dataset=null: no such option; there are: atomic, ecommerce/amazon2018"),
        (
            "model=bert",
            "model: unknown key; did you mean backbone=bert_base? backbone=... is one of bert_base",
        ),
        ("model=tower", "did you mean head=towers?"),
        (
            "metric=ndcg",
            "metric: unknown key; every metric is measured always; evaluate.k is where they cut",
        ),
        (
            "strategy=glob(x*)",
            "strategy=glob(x*): glob() stands for the options that it fits, and fits none; there "
            "are",
        ),
        ("seed=glob(*)", "seed is no group of options"),
        ("seed=interval(1,2)", "seed=interval(1,2): interval() names no values to run"),
    ],
)
def test_words_of_others_are_answered_with_ours(text: str, said: str) -> None:
    found = make_plan(
        ["-m", "backbone=tiny_bert", *([] if "dataset" in text else ["dataset=simulated"]), text]
    ).problems
    assert said in found[0]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            ["--cfg", "job", "dataset.text=数,b"],
            "it holds signs that need quotes; as one value, type",
        ),
        (["--cfg", "job", "train.epoch=1"], "train.epoch: unknown key; did you mean train.epochs?"),
        (["--help", "strategy=lorra"], "strategy=lorra: no such option; did you mean lora?"),
        (["--info", "defaults", "a='"], "quotes and brackets go in pairs"),
        (["--hydra-help", "训=1"], "a key in plain letters"),
        (["--resolve"], "--resolve flag can only be used"),
        (["--cfg", "job", "--info", "config"], "Only one of"),
        (["-sc", "install=bash"], 'eval "$(coldlm completion bash)"'),
        (
            ["--config-dir", "nowhere", "--cfg", "job"],
            "--config-dir: got nowhere, which is not a folder",
        ),
        (["--config-dir", "nowhere", "--help"], "--config-dir: got nowhere, which is not a folder"),
        (["--help", "strategy=lora,top"], "strategy=lora,top: several values are a sweep; add -m"),
        (["--cfg", "job", "--resolve", "output=${nowhere}"], "nowhere"),
    ],
)
def test_flags_that_show_something_refuse_in_words(line: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coldlm", "run", *line], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_torn_file_is_named_by_every_flag(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "torn.yaml").write_text("# @package _global_\ntrain: {epochs: 1\n")
    for flag in (["--cfg", "job"], ["--help"], ["--info", "config"]):
        line = ["run", *flag, "--config-dir", str(tmp_path), "experiment=torn"]
        done = subprocess.run(
            [sys.executable, "-m", "coldlm", *line], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert "torn.yaml" in done.stderr
        assert "Traceback" not in done.stderr


def test_what_is_quoted_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--cfg", "job", *TINY, "name=我的 (1)"]) == 0
    assert "\nname: 我的 (1)\n" in capsys.readouterr().out


def test_every_command_that_composes_reads_the_same() -> None:
    with pytest.raises(ConfigError, match="it holds signs that need quotes"):
        compose_plain(["output=数,据"])
    assert compose_plain([*TINY, "output=数据"])["output"] == "数据"
