"""``coldlm update``: files of what came since, and the list that follows."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from coldlm.cli import main


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def write(file: Path, *lines: str) -> str:
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return str(file)


def test_files_make_a_version_by_which_recommend_answers(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("coldlm"), "propagate", True)
    ask = ["recommend", str(run), "--query", "guitar", "--k", "61", "--json"]
    assert main(ask) == 0
    before = json.loads(capsys.readouterr().out)
    artefacts = {file.name: file.read_bytes() for file in run.iterdir()}
    events = write(
        tmp_path / "events.csv",
        "user_id,item_id,timestamp,query",
        "u1,i3,2024-02-01T00:00:00,",
        "u1,fresh,2025-01-01T00:00:00,guitar",
        "newcomer,i5,2025-01-01T00:00:01,",
    )
    items = write(
        tmp_path / "items.csv", "item_id,title,about", "fresh,Guitar,melody", "i3,known,x"
    )
    assert main(["update", str(run), "--events", events, "--items", items]) == 0
    said = capsys.readouterr().out
    for part in (
        "1 of 3 events are refused: they are not later than 2024-02-29",
        "1 items are known already, such as 'i3'",
        "version 5 is live",
        "nDCG on the probe",
        "rank before",
    ):
        assert part in said
    assert main(ask) == 0
    after = json.loads(capsys.readouterr().out)
    assert len(after) == len(before) + 1
    assert "Guitar" in [place["title"] for place in after]
    assert "version 5, after 1 live update" in caplog.text
    assert {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()} == artefacts
    journal = (run / "live" / "journal.jsonl").read_text("utf-8").splitlines()
    assert [list(json.loads(line)) for line in journal] == [["item"], ["event"], ["event"]]
    assert json.loads(journal[1])["event"]["text"] == "guitar"
    assert main(["update", str(run), "--events", events]) == 2  # all of it is known now
    assert "nothing to learn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            ("user_id,item_id,timestamp", "u1,nothing,2025-01-01"),
            "neither in the run nor in --items",
        ),
        (("user_id,item_id", "u1,i3"), "timestamp"),
        (("user_id,item_id,timestamp", "u1,i3,yesterday"), "yesterday"),
        (("user_id,item_id,timestamp",), "at least one is needed"),
    ],
)
def test_what_cannot_be_read_is_told_and_nothing_is_taken(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: tuple[str, ...], says: str
) -> None:
    assert main(["update", str(run), "--events", write(tmp_path / "events.csv", *lines)]) == 2
    assert says in capsys.readouterr().err
    journal = run / "live" / "journal.jsonl"
    assert not journal.exists() or journal.read_text("utf-8") == ""
