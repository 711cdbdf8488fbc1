"""Tensors on disk: made once, and again where the file is damaged."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from coldlm.text.kept import kept


def counted(made: list[Tensor]) -> Callable[[], Tensor]:
    def make() -> Tensor:
        made.append(torch.randn(5, 3))
        return made[-1]

    return make


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    made: list[Tensor] = []
    file = tmp_path / "new" / "x.safetensors"
    assert torch.equal(kept(file, counted(made)), kept(file, counted(made)))
    assert len(made) == 1
    assert [file] == list(file.parent.iterdir())


def _flipped(whole: bytes) -> bytes:
    return whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda whole: whole[:-7],
    "empty": lambda whole: b"",
    "words": lambda whole: b"no tensor",
    "one bit": _flipped,
    "zeros": lambda whole: whole[:-20] + bytes(20),
}


@pytest.mark.parametrize("damage", [*DAMAGES, "another tensor", "without a digest", "a folder"])
def test_a_damaged_file_is_made_again_and_told(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Tensor] = []
    file = tmp_path / "x.safetensors"
    kept(file, counted(made))
    if damage == "another tensor":
        save_file({"other": torch.zeros(2)}, file)
    elif damage == "without a digest":
        save_file({"kept": made[0]}, file)
    elif damage == "a folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with caplog.at_level(logging.WARNING, "coldlm"):
        again = kept(file, counted(made))
    assert len(made) == 2
    assert torch.equal(again, made[1])
    assert f"{file} is damaged" in caplog.text
    if damage != "a folder":  # which nobody's tensor may replace
        assert torch.equal(kept(file, counted(made)), again)
        assert len(made) == 2


def test_where_nothing_can_be_written_it_is_made_each_time_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Tensor] = []
    (tmp_path / "taken").write_text("a file where the folder would be")
    for _ in range(2):
        found = kept(tmp_path / "taken" / "x.safetensors", counted(made))
        assert torch.equal(found, made[-1])
    assert len(made) == 2
    assert caplog.text.count("cannot be written") == 2


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, made = tmp_path / "x.safetensors", list[Tensor]()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))  # bytes of a file, at most
    try:
        found = kept(file, counted(made))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(found, made[0])
    assert "cannot be written" in caplog.text
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(kept(file, counted(made)), kept(file, counted(made)))
    assert len(made) == 2


def test_what_is_deleted_while_it_is_used_stays_what_it_was(tmp_path: Path) -> None:
    file, made = tmp_path / "x.safetensors", list[Tensor]()
    kept(file, counted(made))
    used = kept(file, counted(made))
    file.unlink()
    assert torch.equal(used, made[0])
    kept(file, counted(made))
    assert len(made) == 2
    assert torch.equal(used, made[0])


BUILDER = """
import sys, time, torch
from pathlib import Path
from coldlm.text.kept import kept
def make():
    print("making", flush=True)
    sys.stdin.readline()
    return torch.arange(300000.0)
print(float(kept(Path(sys.argv[1]), make).sum()), flush=True)
"""


def _builder(file: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", BUILDER, str(file)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_builders_and_one_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    builders = [_builder(file) for _ in range(3)]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "making\n"
    builders[0].kill()
    builders[0].communicate()
    (tmp_path / f".{file.name}.{builders[0].pid}.part").write_bytes(b"half of it")
    said = [builder.communicate("go on\n")[0] for builder in builders[1:]]
    expected = torch.arange(300000.0)
    assert [float(words) for words in said] == [float(expected.sum())] * 2
    assert torch.equal(kept(file, lambda: pytest.fail("it is there")), expected)
