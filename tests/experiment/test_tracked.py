"""A run that is told to everybody at once, interrupted and resumed: what each of them has of it in the end."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from coldlm.core.columns import MODEL
from coldlm.core.tracked import AXES, EPOCH, whole
from coldlm.experiment import tracked
from coldlm.experiment.run import execute
from coldlm.experiment.updater import Updater
from coldlm.learn.sinks.about import About
from coldlm.runs.manifest import Manifest
from coldlm.runs.record import Record
from coldlm.runs.track import NAME

DOCS = Path(__file__).parents[2] / "docs"

STOPPED_AT = 3
"""Updates of which the last is interrupted."""

Series = dict[str, dict[float, float]]
"""Key -> place on its axis -> value."""


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """Nobody's key, and all that libraries leave behind in a folder of the test's."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("WANDB_DATA_DIR", str(home))
        # a database takes seconds to be made: test_an_interrupted_run_is_one_run_everywhere
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        for key in ("WANDB_API_KEY", "NETRC", "WANDB_RUN_ID"):
            patch.delenv(key, raising=False)
        yield patch


def interrupted(patch: pytest.MonkeyPatch, config: Any, stops: list[int]) -> Path:
    """A run that is interrupted in each of these updates, and resumed."""
    update, made = Updater.update, list[str]()

    def stop(self: Updater, now: Any, reason: str, version: int) -> Any:
        if len(now.updates) + 1 in stops:
            stops.remove(len(now.updates) + 1)
            raise KeyboardInterrupt
        made.append(reason)
        return update(self, now, reason, version)

    with patch.context() as inner:
        inner.setattr(Updater, "update", stop)
        while stops:
            with pytest.raises(KeyboardInterrupt):
                execute(config, "run")
        return execute(config, "run")


@pytest.fixture(scope="module")
def told(
    surroundings: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    cache: Path,
    compose: Any,
) -> Path:
    """The folder of a micro run that all three were told of, interrupted once and resumed."""
    for package in ("wandb", "tensorboard", "mlflow"):
        pytest.importorskip(package)
    sweep = tmp_path_factory.mktemp("runs") / "my_sweep"
    config = compose(
        sweep,
        cache,
        "logger=[wandb,tensorboard,mlflow]",
        f"logger.mlflow.tracking_uri=file://{sweep}/store",
        "logger.mlflow.experiment=mine",
        "tags=[nice]",
        "logger.log_model=true",
        "train.epochs=2",
        "train.head_epochs=1",
        "online.save_updates=1",
    )
    return interrupted(surroundings, config, [STOPPED_AT])


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / NAME).open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def series_of(points: list[dict[str, Any]]) -> Series:
    """The series of rows with a place on an axis; fails where a place is there twice."""
    found: Series = {}
    for axis in AXES:
        places = [float(row[axis]) for row in points if axis in row]
        assert places == sorted(set(places)), axis
    for row in points:
        for axis in (axis for axis in AXES if axis in row):
            for key, value in row.items():
                if key.partition("/")[0] in AXES[axis]:
                    found.setdefault(key, {})[float(row[axis])] = float(value)
    return found


def in_steps(series: Series) -> Series:
    """The same with the steps of loggers whose steps are whole numbers."""
    axis_of = {first: axis for axis, firsts in AXES.items() for first in firsts}
    return {
        key: {whole(axis_of[key.partition("/")[0]], at): value for at, value in points.items()}
        for key, points in series.items()
    }


def same(ours: Series, theirs: Series) -> None:
    assert theirs.keys() == ours.keys()
    for key, points in ours.items():
        assert theirs[key] == pytest.approx(points, rel=1e-6), key


def offline_runs(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"))


def records(folder: Path) -> list[dict[str, Any]]:
    """All that the offline runs of wandb hold, in their order."""
    found = []
    for run in offline_runs(folder):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(run)],
            capture_output=True,
            text=True,
            check=True,
        )
        found += [json.loads(line) for line in done.stdout.splitlines()]
    return found


def at_wandb(told: list[dict[str, Any]]) -> tuple[Series, dict[str, Any]]:
    history = [each["history"]["item"] for each in told if each["type"] == "history"]
    summary: dict[str, Any] = {}
    for each in told:
        if each["type"] == "summary":
            summary |= each["summary"].get("update", {})
    return series_of(history), summary


@pytest.fixture(scope="module")
def wandb_records(told: Path) -> list[dict[str, Any]]:
    return records(told)


def headline(folder: Path) -> dict[str, float]:
    """nDCG@10 by key, of every cohort under every schedule, from ``results.parquet``."""
    rows = pl.read_parquet(folder / "results.parquet").filter(
        scorer=MODEL, window=-1, bucket="all", average="macro", metric="ndcg", k=10
    )
    said = {"static": "static", "history": "test", "per_window": "online"}
    return {
        f"{said[row['schedule']]}/{row['cohort']}/ndcg@10": row["value"]
        for row in rows.drop_nulls("value").iter_rows(named=True)
    }


def test_metrics_csv_has_each_point_once(told: Path) -> None:
    series = series_of(table(told))
    # head, train, head and refit, one after the other
    trained = sum(len(series[f"{name}/loss"]) for name in ("head", "train", "refit"))
    assert trained == sum(EPOCH in row for row in table(told))
    assert max(series["train/loss"]) < min(series["refit/loss"])
    updates = pl.read_parquet(told / "updates.parquet")
    assert list(series["update/version"].values()) == updates["version"].to_list()
    assert list(series["update/seconds"].values()) == updates["seconds"].to_list()
    assert list(series["update/examples"].values()) == updates["n_events"].to_list()
    assert set(series["update/accepted"].values()) == {1.0}
    stream = pl.read_parquet(told / "stream.parquet").filter(age="all")
    assert list(series["stream/all/ndcg@10"]) == stream["seen"].to_list()


def test_windows_are_told_as_the_results_have_them(told: Path) -> None:
    series = series_of(table(told))
    rows = pl.read_parquet(told / "results.parquet").filter(
        pl.col("window") >= 0, cohort="all", average="macro", metric="ndcg", k=10
    )
    model = rows.filter(scorer=MODEL, schedule="per_window").sort("window")
    assert list(series["window/all/ndcg@10"].values()) == pytest.approx(model["value"].to_list())
    popularity = rows.filter(scorer="popularity").sort("window")["value"].to_list()
    found = series["window/baseline/popularity/ndcg@10"]
    assert list(found.values()) == pytest.approx(popularity)
    events = pl.read_parquet(told / "events.parquet").filter(schedule="per_window")
    ends = events.group_by("window").len().sort("window")["len"].cum_sum().to_list()
    assert list(found) == ends


def test_wandb_has_the_same_series_in_two_folders_of_one_run(
    told: Path, wandb_records: list[dict[str, Any]]
) -> None:
    runs = [each["run"] for each in wandb_records if each["type"] == "run"]
    said = json.loads((told / "manifest.json").read_text())["tracked"]["wandb"]
    assert [run["run_id"] for run in runs] == [said, said]
    assert len(offline_runs(told)) == 2
    series, summary = at_wandb(wandb_records)
    same(series_of(table(told)), series)
    for key, value in headline(told).items():
        assert summary[key] == pytest.approx(value)
    # the second folder alone has all of the headline
    last = max(i for i, each in enumerate(wandb_records) if each["type"] == "run")
    assert headline(told).keys() <= at_wandb(wandb_records[last:])[1].keys()


def test_wandb_files_the_run_as_it_should(told: Path, wandb_records: list[dict[str, Any]]) -> None:
    run = next(each["run"] for each in wandb_records if each["type"] == "run")
    assert (run["run_group"], run["job_type"], run["project"]) == ("my_sweep", "frozen", "coldlm")
    assert {"nice", "strategy=frozen", "dataset=simulated", "seed=1"} <= set(run["tags"])
    config = run["config"]["update"]
    config.pop("_wandb")
    assert all(isinstance(value, bool | int | float | str) for value in config.values())
    assert (config["strategy"], config["train.epochs"], config["optim"]) == ("frozen", 2, "adamw")
    metrics = [each["metric"] for each in wandb_records if each["type"] == "metric"]
    axes = {m["glob_name"]: m["step_metric"] for m in metrics if "glob_name" in m}
    assert axes == {f"{first}/*": axis for axis, firsts in AXES.items() for first in firsts}
    artifacts = [each["artifact"] for each in wandb_records if each["type"] == "artifact"]
    assert Counter(a["type"] for a in artifacts) == {"run_table": 1, "model": 2}
    [table_] = (told / "wandb").rglob("cohorts_*.table.json")
    cohorts = json.loads(table_.read_text())
    whole = pl.read_parquet(told / "results.parquet").filter(metric="ndcg", k=10, window=-1)
    assert len(cohorts["data"]) == whole.filter(average="macro").height
    assert {"cold_item_any", "warm_warm"} <= {
        row[cohorts["columns"].index("cohort")] for row in cohorts["data"]
    }


def test_the_distance_to_the_best_rival_is_that_of_the_report(
    told: Path, wandb_records: list[dict[str, Any]]
) -> None:
    from coldlm.report.measure import measure
    from coldlm.report.results import read_runs

    [comparison] = read_runs([told]).comparisons
    found = measure(comparison)
    _, summary = at_wandb(wandb_records)
    assert found.best_trivial is not None
    assert summary["vs_best_rival/rival"] == found.best_trivial.name
    for m in found.measures:
        if m.row.kind == "baseline":
            assert summary[f"baseline/{m.row.label}/ndcg@10"] == m.quality["ndcg@10"]
        elif m.vs_trivial is not None:
            part = {"history": "test", "per_window": "online"}[m.row.schedule]
            key = f"vs_best_rival/{part}/ndcg@10"
            said = [summary[f"{key}/{name}"] for name in ("mean", "low", "high")]
            assert said == [m.vs_trivial.mean, m.vs_trivial.low, m.vs_trivial.high]
    assert any(m.vs_trivial is not None for m in found.measures)


def test_tensorboard_has_the_same_series_and_the_hparams(told: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    folder = told / "tensorboard"
    assert len(list(folder.iterdir())) == 2  # starts
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    scalars = {
        key: {each.step: each.value for each in events.Scalars(key)}
        for key in events.Tags()["scalars"]
    }
    ours = in_steps(series_of(table(told)))
    same(ours, {key: scalars[key] for key in scalars if key in ours})
    for key, value in headline(told).items():
        assert scalars[key] == {0: pytest.approx(value)}
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    assert hparams["strategy"].string_value == "frozen"
    assert hparams["train.epochs"].number_value == 2
    content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    metrics = HParamsPluginData.FromString(content).experiment.metric_infos
    assert [m.name.tag for m in metrics] == ["online/all/ndcg@10", "test/all/ndcg@10"]


def in_mlflow(told: Path, uri: str) -> tuple[Any, Series]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    run = client.get_run(json.loads((told / "manifest.json").read_text())["tracked"]["mlflow"])
    found: Series = {}
    for key in run.data.metrics:
        history = client.get_metric_history(run.info.run_id, key)
        found[key] = {each.step: each.value for each in history}
        assert len(found[key]) == len(history), key
    [experiment] = [
        e for e in client.search_experiments() if e.experiment_id == run.info.experiment_id
    ]
    runs = client.search_runs([experiment.experiment_id])
    assert [r.info.run_id for r in runs] == [run.info.run_id]
    return run, found


def check_mlflow(told: Path, uri: str) -> Any:
    run, found = in_mlflow(told, uri)
    ours = {
        key.replace("@", "_at_"): points for key, points in in_steps(series_of(table(told))).items()
    }
    same(ours, {key: found[key] for key in found if key in ours})
    for key, value in headline(told).items():
        assert found[key.replace("@", "_at_")] == {0: pytest.approx(value)}
    assert run.info.status == "FINISHED"
    assert run.data.params["strategy"] == "frozen"
    return run


def test_mlflow_has_the_same_series_in_one_run(told: Path) -> None:
    run = check_mlflow(told, f"file://{told.parent}/store")
    assert run.data.tags["group"] == "my_sweep"
    assert run.data.tags["job_type"] == "frozen"
    assert run.data.tags["nice"] == "true"
    assert json.loads((told / "manifest.json").read_text())["tags"] == ["nice"]
    files = {file.name for file in (told.parent / "store").rglob("*") if file.is_file()}
    assert {"model.safetensors", "online.safetensors", "cohorts.tsv"} <= files


@pytest.mark.parametrize(
    ("overrides", "group", "job_type", "tags"),
    [
        (("control=none", "strategy=bitfit"), "my_sweep", "bitfit", ()),
        (("control=permuted_text",), "my_sweep", "control/permuted_text/frozen", ()),
        (("logger.group=g", "logger.job_type=j", "tags=[a]"), "g", "j", ("a",)),
    ],
)
def test_a_run_is_filed_under_its_sweep_and_what_is_compared(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cache: Path,
    compose: Any,
    overrides: tuple[str, ...],
    group: str,
    job_type: str,
    tags: tuple[str, ...],
) -> None:
    filed: list[About] = []
    monkeypatch.setattr(tracked, "build", lambda node, about: filed.append(about))
    config = compose(tmp_path / "my_sweep", cache, "logger=wandb", *overrides)
    folder = tmp_path / "my_sweep" / "run"
    folder.mkdir(parents=True)
    manifest = Manifest("0")
    record = Record(folder, config, "run", manifest, is_main=True, formulas={})
    tracked.open_track(config, record)
    [about] = filed
    assert (about.group, about.job_type, about.tags) == (group, job_type, tags)
    # the other ranks tell nobody
    other = Record(folder, config, "run", manifest, is_main=False, formulas={})
    assert tracked.open_track(config, other).sinks == []
    assert len(filed) == 1


def documented() -> dict[str, str]:
    """Pattern of a key -> its axis, as the page of the guide has them."""
    text = (DOCS / "guide" / "tracking.md").read_text(encoding="utf-8")
    keys = text.partition("\n## Keys\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:5] for line in keys.splitlines() if line.startswith("| `")]
    return {
        re.sub(r"[A-Z_]{2,}", "*", key.strip(" `")): axis.strip(" `")
        for keys, axis, *_ in rows
        for key in keys.split(",")
    }


def test_every_key_that_a_run_logs_has_its_line_in_the_guide(
    told: Path, wandb_records: list[dict[str, Any]]
) -> None:
    patterns = documented()
    series, summary = at_wandb(wandb_records)
    used = set()
    for key in {*series, *summary} - {*AXES}:
        if key.startswith("_") or key.partition(".")[0] == "cohorts":
            continue
        [axis] = {patterns[p] for p in patterns if fnmatchcase(key, p)} or {"undocumented"}
        used |= {p for p in patterns if fnmatchcase(key, p)}
        own = [name for name, firsts in AXES.items() if key.partition("/")[0] in firsts]
        assert axis == (own[0] if own else "none"), key
    # what this run has nothing of: another stage, another kind of run
    elsewhere = ("pretrain/", "validation/pretrain/", "control/", "figures/")
    assert {p for p in {*patterns} - used if not p.startswith(elsewhere)} == set()


@pytest.mark.long
# what MLflow's database makes of sqlalchemy
@pytest.mark.filterwarnings("ignore::DeprecationWarning:sqlalchemy", "ignore:.*noload.*")
def test_an_interrupted_run_is_one_run_everywhere(
    surroundings: pytest.MonkeyPatch, tmp_path: Path, cache: Path, compose: Any
) -> None:
    """Twice interrupted, with MLflow's database, and with figures."""
    sweep = tmp_path / "sweep"
    config = compose(
        sweep,
        cache,
        "logger=[wandb,mlflow]",
        "logger.figures=true",
        "logger.group=theirs",
        "logger.job_type=kind",
        "logger.wandb.project=p",
        "online.save_updates=1",
    )
    surroundings.delenv("MLFLOW_ALLOW_FILE_STORE")
    folder = interrupted(surroundings, config, [2, 3])
    told = records(folder)
    runs = [each["run"] for each in told if each["type"] == "run"]
    assert len(offline_runs(folder)) == len(runs) == 3
    assert len({run["run_id"] for run in runs}) == 1
    assert {(r["run_group"], r["job_type"], r["project"]) for r in runs} == {
        ("theirs", "kind", "p")
    }
    same(series_of(table(folder)), at_wandb(told)[0])
    check_mlflow(folder, f"sqlite:///{sweep}/mlflow.db")
    pictures = {file.name.partition("_")[0] for file in (folder / "wandb").rglob("*.png")}
    assert {"figure", "cost", "stream"} <= pictures
    assert {"figure.png", "cost.png"} <= {file.name for file in (sweep / "mlartifacts").rglob("*")}
    assert math.isfinite(at_wandb(told)[1]["online/all/ndcg@10"])
    command = [
        line for line in (folder / "run.log").read_text().splitlines() if "wandb sync" in line
    ]
    assert all(str(run) in command[-1] for run in offline_runs(folder))
    # a control that is finished is a rival of the run, and is filed under what it controls
    control = compose(
        sweep, cache, "control=permuted_text", "logger=tensorboard", "stages=[train,evaluate]"
    )
    execute(control, "control")
    again = execute(config, "again")
    summary = at_wandb(records(again))[1]
    values = pl.read_parquet(sweep / "control" / "results.parquet").filter(
        scorer=MODEL, window=-1, cohort="all", bucket="all", average="macro", metric="ndcg", k=10
    )["value"]
    assert [v for k, v in summary.items() if k.startswith("control/")] == values.to_list()
