"""A packed file is as good as the folders it was made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from coldlm.cli import main
from coldlm.core.columns import MODEL
from coldlm.core.errors import RunFolderError
from coldlm.report.found import FinishedRun
from coldlm.report.pack import pack, unpack
from coldlm.report.results import read_runs
from coldlm.report.write import write_report


@pytest.fixture
def file(make_runs, make_run, add_shots, tmp_path: Path) -> Path:
    make_runs(seeds=(1, 2))
    add_shots(make_run("with-shots", strategy="frozen", seed=3))
    packed = tmp_path / "packed" / "runs.parquet"
    packed.parent.mkdir()
    packed.write_bytes(pack(read_runs([tmp_path / "runs"]).found))
    return packed


def test_the_same_report_is_made_of_it(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report([tmp_path / "runs"], tmp_path / "one", tmp_path / "packed" / "written.parquet")
    assert file.read_bytes() == (tmp_path / "packed" / "written.parquet").read_bytes()
    assert main(["report", str(file), "--out", str(tmp_path / "two")]) == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert "k_shot.csv" in names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), (
            name
        )


def test_users_of_weights_that_stand_are_kept_once_and_where_they_differ(
    make_run, tmp_path: Path
) -> None:
    make_run("a")
    (run,) = read_runs([tmp_path / "runs"]).found
    other = replace(run, facts={**run.facts, "run": "b", "online": "every_n"})
    first, second = unpack_bytes(pack([run, other]), tmp_path)
    assert first.users.equals(run.users)
    assert set(second.users.filter(scorer=MODEL)["schedule"]) == {"per_window"}
    assert second.results.filter(scorer=MODEL).equals(run.results.filter(scorer=MODEL))
    moved = other.users.with_columns(pl.col("value") + 1)
    _, kept = unpack_bytes(pack([run, replace(other, users=moved)]), tmp_path)
    assert kept.users.filter(scorer=MODEL).equals(moved.filter(scorer=MODEL))


def unpack_bytes(packed: bytes, folder: Path) -> list[FinishedRun]:
    (folder / "packed.parquet").write_bytes(packed)
    return unpack(folder / "packed.parquet")


def test_baselines_are_kept_once_and_where_they_differ(
    file: Path, make_run, tmp_path: Path
) -> None:
    runs = unpack(file)
    assert len(runs) == 11
    own = [run.results.select("scorer", "seed", "control").unique() for run in runs]
    copies = pl.concat(own).group_by("scorer", "seed", "control").len()
    assert set(copies.filter(pl.col("scorer") != MODEL)["len"]) == {1}
    make_run(
        "other",
        strategy="frozen",
        seed=1,
        baselines={"popularity": 0.5},
        backbone="minilm",
        head="pair",
    )
    again = pl.concat(
        [run.results for run in read_runs([tmp_path / "runs"]).found if run.facts["run"] == "other"]
    )
    (kept,) = [
        run.results
        for run in _through(tmp_path, read_runs([tmp_path / "runs"]).found)
        if run.facts["run"] == "other"
    ]
    assert kept.filter(scorer="popularity").height == again.filter(scorer="popularity").height > 0


def _through(folder: Path, runs):
    (folder / "again.parquet").write_bytes(pack(runs))
    return unpack(folder / "again.parquet")


def test_a_packed_file_stands_beside_folders_and_the_same_run_counts_once(
    file: Path, make_run, tmp_path: Path
) -> None:
    runs = read_runs([file, tmp_path / "runs"])
    assert len(runs.found) == 11
    assert len(runs.skipped) == 11
    assert all("the same configuration and seed" in why for _, why in runs.skipped)


def test_another_file_is_refused(file: Path, tmp_path: Path) -> None:
    for content in (b"no parquet", file.read_bytes()[:-20]):
        (tmp_path / "bad.parquet").write_bytes(content)
        with pytest.raises(
            RunFolderError, match=r"bad\.parquet holds no runs .*coldlm report --pack"
        ):
            read_runs([tmp_path / "bad.parquet"])
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "bad.parquet")
    with pytest.raises(RunFolderError, match=r"bad\.parquet holds no runs"):
        read_runs([tmp_path / "bad.parquet"])
    with pytest.raises(RunFolderError, match="is not there: give run folders"):
        read_runs([tmp_path / "nowhere"])


def test_a_pack_names_no_place_on_the_machine(make_run, tmp_path: Path) -> None:
    command = "coldlm run output=/a/runs cache=../b/cache backbone.path='/data/e5 small' loss=a/b"
    for seed, name in enumerate(("one/a", "two/a")):
        make_run(name, seed=seed, manifest={"command": command, "recipe": {"r": ["/x/y"]}})
    found = read_runs([tmp_path / "runs"]).found
    first, second = unpack_bytes(pack(found), tmp_path)
    assert (str(first.folder), str(second.folder)) == ("runs/one/a", "runs/two/a")
    assert first.manifest.command == (
        "coldlm run output=runs cache=cache backbone.path='e5 small' loss=a/b"
    )
    assert first.manifest.recipe["r"] == ["y"]
    # what a pack has said once it says again, whatever it is packed with
    both = unpack_bytes(pack([first, found[1]]), tmp_path)
    assert [str(run.folder) for run in both] == ["runs/one/a", "two/a"]


def test_what_runs_repeat_takes_no_room(make_run, tmp_path: Path) -> None:
    make_run("a")
    (run,) = read_runs([tmp_path / "runs"]).found
    of_model = run.users.filter(scorer=MODEL).head(1)
    values = np.random.default_rng(0).random(200_000)
    many = pl.concat([of_model.drop("value")] * len(values)).with_columns(value=pl.lit(values))
    run = replace(run, users=many)
    other = replace(run, facts={**run.facts, "run": "b", "seed": run.facts["seed"] + 1})
    alone, both = len(pack([run])), len(pack([run, other]))
    assert alone > values.nbytes / 2
    assert both < 1.1 * alone
