"""One process at a time carries a run out, and its deaths are counted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coldlm.core.errors import RunFolderError
from coldlm.core.files import write_json
from coldlm.experiment.run import execute
from coldlm.runs.claim import (
    LOCK,
    OWNER,
    Claimed,
    claimed,
    count_death,
    deaths_of,
    forget_deaths,
    is_claimed,
    write_death,
)
from coldlm.runs.manifest import NAME, Manifest, read_manifest


def left(folder: Path, status: str, deaths: int | None = None) -> Manifest:
    folder.mkdir(exist_ok=True)
    manifest = Manifest("0" * 12, status=status, run=folder.name, deaths=deaths)
    write_json(folder / NAME, manifest.plain())
    return manifest


def test_a_run_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert not is_claimed(folder)
    with claimed(folder):
        assert is_claimed(folder)
        with (
            pytest.raises(Claimed, match=rf"another process \(process {os.getpid()} on .*, since"),
            claimed(folder),
        ):
            pass
        assert is_claimed(folder), "a refused one takes nothing away"
    assert not is_claimed(folder)
    assert not (folder / OWNER).exists()
    with claimed(folder):
        pass


def test_a_death_gives_the_folder_back(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from coldlm.runs.claim import claimed\n"
        f"with claimed(Path({str(tmp_path / 'run')!r})): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert (tmp_path / "run" / LOCK).is_file()
    assert not is_claimed(tmp_path / "run")


def test_only_a_process_that_left_its_work_counts_as_dead(tmp_path: Path) -> None:
    new, finished, running = Manifest("x"), Manifest("x", "FINISHED"), left(tmp_path, "RUNNING", 1)
    assert [deaths_of(manifest) for manifest in (new, finished, running)] == [0, 0, 2]
    assert running.deaths == 1, "asking counts nothing"
    count_death(running)
    assert running.deaths == 2


def test_a_death_is_written_once_and_forgotten_on_demand(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_death(folder, "killed")  # it has not begun: nothing to say
    left(folder, "RUNNING")
    for _ in range(2):
        write_death(folder, "killed")
        found = read_manifest(folder)
        assert (found.status, found.reason, found.deaths) == ("FAILED", "killed", 1)
    with claimed(folder), pytest.raises(Claimed):
        forget_deaths(folder)
    forget_deaths(folder)
    assert read_manifest(folder).deaths is None


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be made"), claimed(tmp_path / "file" / "run"):
        pass


def test_a_run_that_is_carried_out_elsewhere_is_refused(config, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with claimed(tmp_path / "runs" / "mine"), pytest.raises(Claimed):
        execute(config("stages=[train]"), "mine")
    assert not (tmp_path / "runs" / "mine" / NAME).exists()


def test_a_sweep_leaves_a_deadly_cell_alone_and_a_single_run_does_not(
    config, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    settled, folder = config("stages=[train]"), tmp_path / "runs" / "mine"
    execute(settled, "mine")
    manifest = read_manifest(folder)
    manifest.status, manifest.done, manifest.deaths = "RUNNING", [], 1
    write_json(folder / NAME, manifest.plain())
    with pytest.raises(RunFolderError, match=r"2 processes died over it .* --retry$"):
        execute(settled, "mine", most_deaths=2)
    found = read_manifest(folder)
    assert (found.status, found.deaths) == ("FAILED", 2)
    execute(settled, "mine")
    found = read_manifest(folder)
    assert (found.status, found.deaths) == ("FINISHED", None)
