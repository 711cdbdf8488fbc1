"""The Tab key: in bash for real, in the other shells where they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coldlm.cli import main
from coldlm.commands import COMMANDS
from coldlm.commands.completion import SCRIPTS, query
from coldlm.config.tree import list_options


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which ``coldlm`` is this very package."""
    program = tmp_path / "coldlm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m coldlm "$@"\n')
    program.chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("coldlm ", list(COMMANDS)),
        ("coldlm re", ["report", "recommend"]),
        ("coldlm run hea", ["head=", "head."]),
        ("coldlm run strategy=ad", ["strategy=adalora", "strategy=adapter"]),
        ("coldlm run -m strategy=lora,ad", ["strategy=lora,adalora", "strategy=lora,adapter"]),
        ("coldlm run strategy=lora strategy.ran", ["strategy.rank="]),
        ("coldlm run strategy=frozen strategy.ran", []),
        ("coldlm run train.ep", ["train.epochs="]),
        ("coldlm run train.validate=", ["train.validate=true", "train.validate=false"]),
        ("coldlm run head.con", ["head.context=", "head.context_width=", "head.context_dropout="]),
        ("coldlm run dataset=news/m", ["dataset=news/mind"]),
        (
            "coldlm run online/trigger=ev",
            ["online/trigger=every", "online/trigger=every_n", "online/trigger=every_window"],
        ),
        ("coldlm run online.trigger.", []),  # every_window has no keys
        ("coldlm run online/trigger=every_n online.trigger.", ["online.trigger.n="]),
        ("coldlm run online=every_n online.tr", ["online.trigger."]),
        ("coldlm run online=on_drift online.trigger.d", ["online.trigger.detector="]),
        (
            "coldlm run online/data=replay online.data.keep=per",
            ["online.data.keep=per_user", "online.data.keep=per_item"],
        ),
        ("coldlm run online.opt", ["online.optimiser="]),
        ("coldlm run online.rate=", ["online.rate=warmed", "online.rate=constant"]),
        ("coldlm run +see", ["+seed="]),
        ("coldlm run --skip", ["--skip-impossible"]),
        ("coldlm tune strategy=fu", ["strategy=full"]),
        ("coldlm export dataset=at", ["dataset=atomic"]),
        ("coldlm evaluate split=lo", ["split=loo", "split=loo_at_once"]),
        ("coldlm data li", ["list"]),
        ("coldlm completion ", list(SCRIPTS)),
        ("coldlm report ru", []),
    ],
)
def test_what_may_come_next(line: str, found: list[str]) -> None:
    assert query(line) == found


def test_every_group_and_option_is_offered() -> None:
    for group, options in list_options().items():
        assert f"{group}=" in query("coldlm run ")
        assert query(f"coldlm run {group}=") == [f"{group}={option}" for option in options]


def in_bash(line: str, path: str, *, setup: str = "") -> list[str]:
    """What bash is given to complete ``line``, by the function that it has registered for
    ``coldlm``."""
    script = f"""
eval "$(coldlm completion bash)"; {setup}
[[ $(complete -p coldlm) == *"-F _coldlm coldlm" ]] || exit 9
COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=($COMP_LINE); _coldlm
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path},
    )
    return done.stdout.split()


def test_bash_completes(path: str) -> None:
    assert in_bash("coldlm re", path) == ["report", "recommend"]
    # = parts words in bash
    assert in_bash("coldlm run strategy=ad", path) == [
        "adalora",
        "adapter",
    ]
    whole = in_bash("coldlm run strategy=ad", path, setup="COMP_WORDBREAKS=${COMP_WORDBREAKS//=}")
    assert whole == ["strategy=adalora", "strategy=adapter"]
    assert in_bash("coldlm report x", path) == []  # files, which bash knows by itself


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_of_other_shells_can_be_read(shell: str, path: str) -> None:
    assert "completion query" in SCRIPTS[shell]
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not here")
    subprocess.run([shell, "-n"], input=SCRIPTS[shell], text=True, check=True)


def test_an_answer_is_quick_and_imports_nothing_heavy() -> None:
    start = time.perf_counter()
    code = (
        "import sys; from coldlm.commands.completion import query; query('coldlm run strategy.'); "
        "sys.exit(bool({'torch', 'polars', 'numpy', 'transformers'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert time.perf_counter() - start < 3  # about 0.4 s on two idle cores


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "one of bash, zsh, fish" in capsys.readouterr().err
