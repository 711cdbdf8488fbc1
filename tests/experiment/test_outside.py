"""A split for other software and back: what ``coldlm export`` writes, what ``coldlm evaluate`` makes of
scores for it, and what a report says of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from coldlm.cli import main
from coldlm.config.schema import RunConfig
from coldlm.core.columns import MODEL
from coldlm.core.errors import DataError, RunFolderError
from coldlm.core.tables import UNKNOWN
from coldlm.evaluate import baselines
from coldlm.experiment.export import export
from coldlm.experiment.outside import Outside, evaluate_file
from coldlm.experiment.world import World, make_world
from coldlm.report.flags import flags
from coldlm.report.measure import measure
from coldlm.report.notes import footnotes
from coldlm.report.results import read_runs
from coldlm.runs.manifest import read_manifest
from coldlm.runs.resolved import read_config

MakeConfig = Callable[..., RunConfig]

AS_JUDGED = ("g", "e", "score", "candidates", "peers_g", "peers_e", "shelf_g", "shelf_e")
PLACE = (*AS_JUDGED, "event_id", "query", "n_item", "n_user", "cohort", "window")


@pytest.fixture(scope="module")
def split(
    tmp_path_factory: pytest.TempPathFactory, compose: MakeConfig, cache: Path
) -> tuple[RunConfig, Path]:
    """A configuration and its split."""
    folder = tmp_path_factory.mktemp("exported")
    config = compose(folder / "runs", cache)
    export(config, folder / "split", candidates=True)
    return config, folder / "split"


def table(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / f"{name}.parquet")


def recent(world: World) -> pl.DataFrame:
    """query, item, score of our own recent popularity."""
    queries = world.stream
    row, item = np.nonzero(world.catalogue.mask(queries.user, queries.time))
    score = baselines.recent_popularity(world.as_of, 0)(queries.user, queries.time)
    ids = pl.Series(world.data.items.ids).gather(item)
    return pl.DataFrame({"query": row, "item": ids, "score": score.numpy()[row, item]})


def outside(path: Path, **keys: Any) -> Outside:
    known: dict[str, Any] = {"kind": "scores", "name": "mine", "seed": 1, "missing": "refuse"}
    return Outside(path, **known | keys)


# --- export -----------------------------------------------------------------------------------------


def test_the_tables_hold_the_split(split: tuple[RunConfig, Path]) -> None:
    config, folder = split
    world = make_world(config)
    log, data = world.data.log, world.data
    events, items = table(folder, "interactions"), table(folder, "items")
    assert events["event_id"].to_list() == log.event_id.tolist()
    assert events["user"].to_list() == [data.users.ids[u] for u in log.user]
    assert events["positive"].to_list() == log.positive.tolist()
    parts = {0: "train", 1: "validation", 2: "stream"}
    assert events["part"].to_list() == [parts[int(part)] for part in world.split.part]
    assert events["probe"].to_list() == world.probe.tolist()
    assert items["text"].to_list() == list(data.items.texts)
    enters = np.where(world.catalogue.enters_at == UNKNOWN, -1, world.catalogue.enters_at)
    assert items["enters_at"].fill_null(-1).to_list() == enters.tolist()
    assert items["leaves_at"].null_count() == len(items)
    assert table(folder, "users")["user"].to_list() == list(data.users.ids)
    queries, n = table(folder, "queries"), len(world.stream)
    assert queries["query"].to_list() == list(range(n + len(world.validation)))
    assert queries["part"].value_counts().sort("part")["count"].to_list() == [
        n,
        len(world.validation),
    ]
    assert queries["time"].head(n).to_list() == world.stream.time.tolist()


def test_the_rule_of_the_readme_gives_the_candidates(split: tuple[RunConfig, Path]) -> None:
    """By joins over the tables alone, with no code of coldlm's."""
    _, folder = split
    queries, items = table(folder, "queries"), table(folder, "items")
    had = table(folder, "interactions").join(queries, on="user", suffix="_asked")
    had = had.filter(pl.col("time") < pl.col("time_asked")).select("query", "item").unique()
    derived = (
        queries.join(items, how="cross")
        .filter(pl.col("enters_at") <= pl.col("time"))
        .filter(pl.col("leaves_at").is_null() | (pl.col("leaves_at") > pl.col("time")))
        .join(had, on=["query", "item"], how="anti")
        .select("query", "item")
    )
    written = pl.read_parquet(folder / "candidates" / "*.parquet")
    assert derived.sort("query", "item").equals(written.sort("query", "item"))
    positives = table(folder, "positives")
    sizes = written.group_by("query").len()
    others = positives.group_by("query").len("asked")
    counted = positives.join(sizes, on="query").join(others, on="query")
    assert (counted["len"] - counted["asked"] + 1).to_list() == counted["candidates"].to_list()
    assert positives.join(written, on=["query", "item"], how="anti").is_empty()


def test_the_manifest_asks_what_a_run_asks(
    split: tuple[RunConfig, Path], finished: Path, tmp_path: Path
) -> None:
    config, folder = split
    assert read_manifest(folder).question == read_manifest(finished).question
    assert read_config(folder).dataset == config.dataset
    readme = (folder / "README.md").read_text()
    assert str(read_manifest(folder).question) in readme
    with pytest.raises(RunFolderError, match="EXPORTED: a split for other software"):
        read_runs([folder])


def test_csv_holds_the_same_and_candidates_are_left_out(
    split: tuple[RunConfig, Path], tmp_path: Path
) -> None:
    config, folder = split
    export(config, tmp_path / "csv", form="csv")
    assert not (tmp_path / "csv" / "candidates").exists()
    assert "| candidates |" not in (tmp_path / "csv" / "README.md").read_text()
    for name in ("interactions", "items", "queries", "positives"):
        whole = table(folder, name)
        read = pl.read_csv(tmp_path / "csv" / f"{name}.csv", schema=whole.schema)
        assert read.equals(whole), name


def test_a_split_is_written_whole_or_not_at_all(
    split: tuple[RunConfig, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = split
    with pytest.raises(RunFolderError, match="is there and not empty: choose another --out"):
        export(config, folder)

    def fail(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("coldlm.experiment.export.write_config", fail)
    with pytest.raises(OSError, match="no room"):
        export(config, tmp_path / "split")
    assert list(tmp_path.iterdir()) == []


# --- evaluate ---------------------------------------------------------------------------------------


def test_a_file_answers_what_a_run_answered(
    split: tuple[RunConfig, Path], finished: Path, tmp_path: Path
) -> None:
    config, folder = split
    recent(make_world(config)).write_parquet(tmp_path / "mine.parquet")
    asked = read_manifest(folder)
    run = evaluate_file(config, outside(tmp_path / "mine.parquet"), tmp_path / "mine", split=asked)
    mine = table(run, "events")
    theirs = table(finished, "events").filter(stage="test", scorer=MODEL, schedule="history")
    same = ("event_id", "query", "user", "item", "time", "cohort", "candidates", "n_item")
    assert mine.select(same).equals(theirs.select(same))
    manifest = read_manifest(run)
    assert (manifest.status, manifest.leaks) == ("FINISHED", {})
    assert manifest.question == read_manifest(finished).question
    assert manifest.dropped == read_manifest(finished).dropped
    assert (manifest.axes["strategy"], manifest.axes["backbone"]) == ("mine", "-")
    assert manifest.scores_from is not None
    assert manifest.scores_from["file"] == "mine.parquet"


def test_our_own_scores_fed_back_are_bit_equal(
    split: tuple[RunConfig, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The baseline judged in the run, against a file of its scores, in the tables of both."""
    config, _ = split
    world = make_world(config)
    recent(world).sample(fraction=1, shuffle=True, seed=3).write_csv(tmp_path / "mine.csv")
    monkeypatch.setattr(
        "coldlm.experiment.baselines.baselines.recent_popularity",
        lambda as_of, half_life, own=baselines.recent_popularity: own(as_of, 0),
    )
    run = evaluate_file(config, outside(tmp_path / "mine.csv"), tmp_path / "mine", baselines=True)
    for name, key in (("events", PLACE), ("results", ("cohort", "bucket", "metric", "k", "value"))):
        rows = table(run, name)
        mine, ours = (
            rows.filter(scorer=scorer).select(key) for scorer in (MODEL, "recent_popularity")
        )
        assert len(mine) > 0
        assert mine.equals(ours), name


def test_a_constant_file_is_the_constant(split: tuple[RunConfig, Path], tmp_path: Path) -> None:
    config, folder = split
    scores = pl.read_parquet(folder / "candidates" / "*.parquet").with_columns(score=pl.lit(1.0))
    scores.write_parquet(tmp_path / "c.parquet")
    run = evaluate_file(
        config, outside(tmp_path / "c.parquet"), tmp_path / "constant", baselines=True
    )
    rows = table(run, "results")
    mine, ours = (
        rows.filter(scorer=scorer).select(
            "cohort", "bucket", "window", "metric", "value", "n_users"
        )
        for scorer in (MODEL, "constant")
    )
    assert mine.equals(ours)
    said = read_manifest(run).scores_from
    assert said is not None
    assert said["of_validation"] > 0  # candidates of validation's queries were scored too


def test_a_file_and_a_run_stand_in_one_table(
    split: tuple[RunConfig, Path],
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, folder = split
    world = make_world(config)
    for seed in (1, 2):
        noise = np.random.default_rng(seed)
        scores = recent(world)
        scores = scores.with_columns(score=pl.Series(noise.random(len(scores))))
        scores.write_parquet(tmp_path / f"{seed}.parquet")
        line = [
            "--split", str(folder), "--scores", str(tmp_path / f"{seed}.parquet"), "--name", "BPR",
            "--seed", str(seed), "--out", str(tmp_path / "runs" / f"bpr{seed}"),
        ]  # fmt: skip
        assert main(["evaluate", *line]) == 0
        assert main(["evaluate", *line]) == 0
        assert "finished already" in capsys.readouterr().out
    (tmp_path / "runs" / "ours").symlink_to(finished)
    found = read_runs([tmp_path / "runs" / "bpr1", tmp_path / "runs" / "bpr2", finished])
    assert found.skipped == ()
    (comparison,) = found.comparisons
    rows = {row.name: row for row in comparison.rows}
    assert rows["BPR, history"].seeds == 2
    assert rows["BPR, history"].kind == "strategy"
    # our own rows are called what they would be called without it
    (alone,) = read_runs([finished]).comparisons
    assert {row.name for row in alone.rows} == {row.name for row in comparison.rows} - {
        "BPR, history"
    }
    (flag,) = [flag for flag in flags(comparison) if flag.startswith("FROM A FILE")]
    assert (
        "`BPR, history`: scores that other software wrote may have been trained on anything" in flag
    )
    assert not any(flag.startswith("FROM A FILE") for flag in flags(alone))
    headline = measure(comparison)
    notes = [note for note in footnotes(comparison, headline) if note.startswith("`BPR, history`")]
    assert len(notes) == 2
    assert "scores from 1.parquet (sha256 " in notes[0]
    (mine,) = [m for m in headline.measures if m.row.name == "BPR, history"]
    assert not mine.is_bold
    assert set(mine.cost.values()) == {None}
    assert (
        main(["report", str(finished), str(tmp_path / "runs"), "--out", str(tmp_path / "r")]) == 0
    )
    assert "BPR" in (tmp_path / "r" / "table.md").read_text()


def test_lists_are_judged_and_say_what_they_left_out(
    split: tuple[RunConfig, Path], tmp_path: Path
) -> None:
    config, _ = split
    scores = recent(make_world(config)).sort("query", "score", descending=[False, True])
    top = scores.with_columns(rank=pl.int_range(1, pl.len() + 1).over("query"))
    top.filter(pl.col("rank") <= 5).select("query", "item", "rank").write_csv(tmp_path / "l.csv")
    run = evaluate_file(config, outside(tmp_path / "l.csv", kind="lists"), tmp_path / "lists")
    said = read_manifest(run).scores_from
    assert said is not None
    assert (said["kind"], said["missing"] > 0) == ("lists", True)
    (comparison,) = read_runs([run]).comparisons
    (note,) = [n for n in footnotes(comparison, measure(comparison)) if n.startswith("`mine")]
    assert "candidates without one tie behind" in note


def test_what_a_file_lacks_is_refused_before_there_is_a_folder(
    split: tuple[RunConfig, Path], tmp_path: Path
) -> None:
    config, _ = split
    scores = recent(make_world(config)).with_columns(pl.col("score").clip(-1e9))
    scores.filter(pl.col("query") > 3).write_parquet(tmp_path / "m.parquet")
    with pytest.raises(DataError, match="candidates of the stream's queries have no score"):
        evaluate_file(config, outside(tmp_path / "m.parquet"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = evaluate_file(config, outside(tmp_path / "m.parquet", missing="last"), tmp_path / "run")
    first = table(run, "events").filter(pl.col("query") <= 3)
    assert (first["e"] == first["candidates"]).all()


def test_other_scores_in_the_same_folder_are_refused(
    split: tuple[RunConfig, Path], finished: Path, tmp_path: Path
) -> None:
    config, _ = split
    recent(make_world(config)).write_parquet(tmp_path / "mine.parquet")
    mine = outside(tmp_path / "mine.parquet")
    evaluate_file(config, mine, tmp_path / "run")
    for other in (replace(mine, seed=2), replace(mine, name="you"), replace(mine, missing="last")):
        with pytest.raises(RunFolderError, match="holds another run or other scores"):
            evaluate_file(config, other, tmp_path / "run")
    with pytest.raises(RunFolderError, match="holds another run or other scores"):
        evaluate_file(config, mine, finished)


def test_a_split_of_other_questions_or_data_is_refused(
    split: tuple[RunConfig, Path], tmp_path: Path
) -> None:
    config, folder = split
    recent(make_world(config)).write_parquet(tmp_path / "mine.parquet")
    mine, asked = outside(tmp_path / "mine.parquet"), read_manifest(folder)
    with pytest.raises(RunFolderError, match="the split asks other questions"):
        evaluate_file(config, mine, tmp_path / "a", split=replace(asked, question="another"))
    assert read_manifest(tmp_path / "a").status == "FAILED"
    assert asked.dataset is not None
    other = replace(asked, dataset=replace(asked.dataset, hashes={"file.csv": "0"}))
    with pytest.raises(RunFolderError, match=r"made from other data: file.csv changed"):
        evaluate_file(config, mine, tmp_path / "b", split=other)


# --- the command lines ------------------------------------------------------------------------------


def test_the_split_of_overrides_and_of_a_run_is_the_same(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    micro = ["dataset=simulated", "dataset.users=40", "dataset.items=60", "dataset.events=600"]
    assert main(["export", *micro, "--out", str(tmp_path / "a")]) == 0
    assert "written to" in capsys.readouterr().out
    assert main(["export", str(finished), "--out", str(tmp_path / "b")]) == 0
    questions = [json.loads((tmp_path / n / "manifest.json").read_text())["question"] for n in "ab"]
    assert questions[0] == questions[1] == read_manifest(finished).question


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["export", "dataset=simulatd", "--out", "x"], "Could not find 'dataset/simulatd'"),
        (
            ["export", "dataset=simulated", "dataset.users=-3", "--out", "x"],
            "dataset.users: got -3, allowed",
        ),
        (
            ["export", "runs", "seed=2", "--out", "x"],
            "runs seed=2: give one folder, whose configur",
        ),
        (["export", "nowhere", "--out", "x"], "nowhere/config.resolved.yaml cannot be read"),
        (
            ["evaluate", "--split", "a", "seed=1", "--scores", "f", "--name", "n"],
            "leave out seed=1",
        ),
        (["evaluate", "--scores", "f.csv", "--name", "a/b"], "--name 'a/b': a word or two"),
        (
            ["evaluate", "--scores", "f.csv", "--name", "a", "--seed", "-1"],
            "--seed -1: a whole num",
        ),
        (
            ["evaluate", "dataset=simulated", "--scores", "no.csv", "--name", "a"],
            "no.csv: no such file",
        ),
    ],
)
def test_what_cannot_be_done_is_said(
    line: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line) == 2
    assert message in capsys.readouterr().err
