"""Tensors on disk: made once, and again where the file is damaged."""

from __future__ import annotations

import logging
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


@pytest.mark.parametrize("damage", ["cut", "empty", "words", "another"])
def test_a_damaged_file_is_made_again_and_told(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Tensor] = []
    file = tmp_path / "x.safetensors"
    kept(file, counted(made))
    if damage == "another":
        save_file({"other": torch.zeros(2)}, file)
    else:
        whole = file.read_bytes()
        file.write_bytes({"cut": whole[:-7], "empty": b"", "words": b"no tensor"}[damage])
    with caplog.at_level(logging.WARNING, "coldlm"):
        again = kept(file, counted(made))
    assert len(made) == 2
    assert torch.equal(again, made[1])
    assert f"{file} is damaged" in caplog.text
    assert torch.equal(kept(file, counted(made)), again)
    assert len(made) == 2
