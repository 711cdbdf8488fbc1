"""Bars: on a terminal only, on the first rank only, and told what is done."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coldlm.config.schema import RunConfig
from coldlm.core.progress import progress
from coldlm.experiment.run import execute

MakeConfig = Callable[..., RunConfig]


def show() -> None:
    with progress("counting sheep", 4) as done:
        done(3)


def test_a_terminal_sees_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    show()
    shown = capsys.readouterr().err
    assert "counting sheep" in shown
    assert "3/4" in shown


def test_a_file_and_another_rank_see_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    show()
    assert capsys.readouterr().err == ""


def test_encoding_and_scoring_tell_what_they_have_done(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: dict[str, list[int]] = {}

    class Told:
        def __init__(self, what: str, total: int) -> None:
            self.counts = told.setdefault(what, [total, 0])

        def __enter__(self) -> Callable[[int], None]:
            return self.add

        def add(self, n: int) -> None:
            self.counts[1] += n

        def __exit__(self, *_: object) -> None: ...

    for module in ("experiment.evaluation", "experiment.encoder"):
        monkeypatch.setattr(f"coldlm.{module}.progress", Told)
    folder: Path = execute(config("seed=77", f"cache={tmp_path}"), "told")
    assert folder.is_dir()
    assert told["encoding"] == [60, 60]
    assert all(
        done >= total > 0 for what, (total, done) in told.items() if what.startswith("scoring")
    )
    assert {"scoring: model", "scoring: popularity", "scoring: tfidf"} <= set(told)
