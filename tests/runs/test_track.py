"""Points and headlines are told once, whatever a run has been through."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from coldlm.core.tracked import EPOCH, EVENTS
from coldlm.runs.track import NAME, Track


class Told:
    """Remembers what it was told."""

    name, id = "told", "1"

    def __init__(self) -> None:
        self.points: list[tuple[str, float, dict[str, float]]] = []
        self.headlines: list[dict[str, Any]] = []
        self.closed: dict[str, Any] = {}

    def point(self, axis: str, at: float, values: Mapping[str, float]) -> None:
        self.points.append((axis, at, dict(values)))

    def headline(self, values: Mapping[str, Any]) -> None:
        self.headlines.append(dict(values))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        raise NotImplementedError

    def picture(self, name: str, png: bytes) -> None:
        raise NotImplementedError

    def model(self, file: Path) -> None:
        raise NotImplementedError

    def close(self, headline: Mapping[str, Any], *, failed: bool) -> str:
        self.closed = {"headline": dict(headline), "failed": failed}
        return "what next"


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / NAME).open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def test_each_point_has_a_row_and_each_axis_goes_its_own_way(tmp_path: Path) -> None:
    told = Told()
    track = Track(tmp_path, [told])
    track.point(EVENTS, 5, {"stream/all/ndcg@10": 0.5})
    track.point(EPOCH, 1.0, {"train/loss": 2.0})
    track.point(EVENTS, 5, {"update/version": 1})  # at or below the last: told before
    track.headline({"test/all/ndcg@10": 0.25}, {"test/item:0/ndcg@10": 0.125})
    assert told.points == [
        (EVENTS, 5, {"stream/all/ndcg@10": 0.5}),
        (EPOCH, 1.0, {"train/loss": 2.0}),
    ]
    assert told.headlines == [{"test/all/ndcg@10": 0.25}]
    assert rows(tmp_path) == [
        {"events": "5", "stream/all/ndcg@10": "0.5"},
        {"epoch": "1.0", "train/loss": "2.0"},
        {"test/all/ndcg@10": "0.25", "test/item:0/ndcg@10": "0.125"},
    ]
    assert (tmp_path / NAME).read_text().startswith("epoch,events,stream/all/ndcg@10,")
    assert track.close(failed=False) == ["what next"]
    assert told.closed == {"headline": {"test/all/ndcg@10": 0.25}, "failed": False}


def test_the_curves_of_two_trainings_follow_one_another(tmp_path: Path) -> None:
    told = Told()
    track = Track(tmp_path, [told])
    tell = track.training("train")
    tell(0.5, {"loss": 3.0})
    tell(2.0, {"loss": 2.0, "validation/all/ndcg": 0.1})
    track.training("refit")(1.0, {"loss": 1.0})
    assert told.points == [
        (EPOCH, 0.5, {"train/loss": 3.0}),
        (EPOCH, 2.0, {"train/loss": 2.0, "validation/all/ndcg": 0.1}),
        (EPOCH, 3.0, {"refit/loss": 1.0}),
    ]
    assert track.epochs == 3.0


@pytest.mark.parametrize("torn", [False, True])
def test_a_resumed_run_tells_nothing_twice(tmp_path: Path, torn: bool) -> None:
    first = Track(tmp_path)
    tell = first.training("train")
    tell(1.0, {"loss": 3.0})
    first.headline({"test/all/mrr": 0.5, "vs_best_rival/rival": "popularity"})
    if torn:  # by a kill, in the middle of a row
        with (tmp_path / NAME).open("a") as file:
            file.write("1.5,,2")
    told = Told()
    again = Track(tmp_path, [told])
    assert again.last(EPOCH) == 1.0
    tell = again.training("train")  # the stage begins anew
    tell(1.0, {"loss": 3.0})
    tell(2.0, {"loss": 2.0})
    again.headline({"test/all/mrr": 0.5, "vs_best_rival/rival": "popularity", "online/all/mrr": 1})
    assert told.points == [(EPOCH, 2.0, {"train/loss": 2.0})]
    assert told.headlines == [{"online/all/mrr": 1}]
    assert [row.get("train/loss") for row in rows(tmp_path)] == ["3.0", None, "2.0", None]
    # the last start knows all of it
    again.close(failed=True)
    assert told.closed["headline"] == {
        "test/all/mrr": 0.5,
        "vs_best_rival/rival": "popularity",
        "online/all/mrr": 1,
    }


def test_a_training_that_goes_on_behind_finished_stages_begins_where_they_end(
    tmp_path: Path,
) -> None:
    track = Track(tmp_path, epochs=2.0)
    track.training("refit")(1.0, {"loss": 1.0})
    assert rows(tmp_path) == [{"epoch": "3.0", "refit/loss": "1.0"}]


def test_of_a_run_without_a_folder_nobody_is_told(tmp_path: Path) -> None:
    told = Told()
    track = Track(None, [told])
    track.training("train")(1.0, {"loss": 3.0})
    assert told.points == []
    assert list(tmp_path.iterdir()) == []
