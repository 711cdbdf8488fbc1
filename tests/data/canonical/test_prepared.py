"""Kept tables: built once, whole or not at all, and never those of anything else than what was
asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coldlm.core.errors import DataError
from coldlm.data.canonical.assemble import Tables
from coldlm.data.canonical.prepared import prepared_tables
from toys.text import count_lines

ALONE = """
import os, sys, time
from pathlib import Path
from coldlm.data.canonical import prepared
sys.path.insert(0, {toys!r})
from toys.text import count_lines
file, builds = Path(sys.argv[1]), Path(sys.argv[2])
def build():
    with builds.open("a") as stream:
        stream.write(f"{{os.getpid()}}\\n")
    {during}
    return count_lines(file)
{before}
tables, _ = prepared.prepared_tables("toy", [file], build, version=1, cache=builds.parent / "cache")
print(tables.items["title"].to_list())
"""


class Toy:
    """A raw file, and how often tables were built from it."""

    def __init__(self, folder: Path) -> None:
        self.file, self.cache, self.builds = folder / "raw.txt", folder / "cache", 0
        self.file.write_text("first", encoding="utf-8")

    def title(self, *, version: int = 1, name: str = "toy") -> str:
        def build() -> Tables:
            self.builds += 1
            return count_lines(self.file)

        tables, hashes = prepared_tables(
            name, [self.file], build, version=version, cache=self.cache
        )
        assert list(hashes) == ["raw.txt"]
        return str(tables.items["title"].item())

    def kept(self) -> list[str]:
        return [path.name for path in (self.cache / "prepared").iterdir() if path.suffix != ".lock"]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def _start(toy: Toy, *, during: str = "pass", before: str = "") -> subprocess.Popen[str]:
    script = ALONE.format(toys=str(Path(__file__).parents[1]), during=during, before=before)
    builds = toy.file.parent / "builds"
    return subprocess.Popen(
        [sys.executable, "-c", script, str(toy.file), str(builds)],
        stdout=subprocess.PIPE,
        text=True,
    )


def _wait_for(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_second_start_builds_nothing(toy: Toy) -> None:
    assert (toy.title(), toy.title(), toy.builds) == ("first", "first", 1)
    assert len(toy.kept()) == 1


def test_two_processes_that_need_one_thing_build_it_once(toy: Toy) -> None:
    """Both start while nothing is there; the first sleeps in its build until the second waits for
    it."""
    both = [_start(toy, during="time.sleep(1)") for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == ["['first']"] * 2
    assert len((toy.file.parent / "builds").read_text().splitlines()) == 1
    assert len(toy.kept()) == 1


@pytest.mark.parametrize("where", ["build", "writing", "rename"])
def test_a_build_that_is_killed_leaves_nothing_in_the_way(toy: Toy, where: str) -> None:
    kill = f"os.kill(os.getpid(), {int(signal.SIGKILL)})"
    last = f"pl.DataFrame.write_parquet = lambda frame, path: (Path(path).touch(), {kill})"
    before = {
        "build": "",
        "writing": f"import polars as pl; {last}",
        "rename": f"Path.rename = lambda path, target: {kill}",
    }
    process = _start(toy, during=kill if where == "build" else "pass", before=before[where])
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert [Path(name).suffix for name in toy.kept()] == ([] if where == "build" else [".part"])
    assert (toy.title(), toy.builds) == ("first", 1)
    assert [Path(name).suffix for name in toy.kept()] == [""]
    assert toy.title() == "first"


def test_what_another_process_is_writing_under_another_key_is_left_alone(toy: Toy) -> None:
    toy.title()
    other = toy.cache / "prepared" / "toy-0123456789abcdef0123456789abcdef_x.part"
    other.mkdir()
    toy.title(version=2)
    assert other.is_dir()


def test_a_build_that_fails_keeps_nothing(toy: Toy) -> None:
    def fail() -> Tables:
        raise DataError("line 3: no")

    with pytest.raises(DataError, match="line 3: no"):
        prepared_tables("toy", [toy.file], fail, version=1, cache=toy.cache)
    assert toy.kept() == []
    assert toy.title() == "first"


def test_another_content_version_or_name_never_reads_what_was_kept(toy: Toy) -> None:
    assert toy.title() == "first"
    stamp = toy.file.stat()
    toy.file.write_text("other", encoding="utf-8")
    os.utime(toy.file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # neither size nor date tells
    assert toy.title() == "other"
    toy.title(version=2)
    toy.title(name="another")
    assert toy.builds == 4
    toy.file.write_text("first", encoding="utf-8")
    assert (toy.title(), toy.builds) == ("first", 4)
    assert len(toy.kept()) == 4


def test_files_that_have_changed_places_are_other_tables(tmp_path: Path) -> None:
    """Two files of one name: what lies in which folder counts, not the contents alone."""
    files = [tmp_path / "train" / "news.tsv", tmp_path / "dev" / "news.tsv"]
    for file in files:
        file.parent.mkdir()

    def title(*contents: str) -> str:
        for file, content in zip(files, contents, strict=True):
            file.write_text(content, encoding="utf-8")
        tables, _ = prepared_tables(
            "toy", files, lambda: count_lines(files[0]), version=1, cache=tmp_path / "c"
        )
        return str(tables.items["title"].item())

    assert [title("a", "b"), title("b", "a"), title("a", "b")] == ["a", "b", "a"]


def test_damaged_tables_are_refused_by_folder(toy: Toy) -> None:
    toy.title()
    [name] = toy.kept()
    folder = toy.cache / "prepared" / name
    (folder / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        DataError, match=rf"{name}: the prepared tables are damaged .*; delete the folder and run"
    ):
        toy.title()
