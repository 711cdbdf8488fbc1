"""The file that an interrupted stage goes on from: written whole, read whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from coldlm.core.errors import RunFolderError
from coldlm.runs.state_file import read_state, write_state

FACTS = {"done": 7, "updates": [{"reason": "第一个窗口", "loss": float("nan"), "live_at": 1.5}]}


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return {
        "weights/a": torch.arange(6.0).reshape(2, 3).t(),  # not contiguous
        "weights/b": torch.tensor(3.5),
        "memory/rows": torch.tensor([1, 5, 9]),
        "memory/nothing": torch.zeros(0, dtype=torch.int64),
        "kept": torch.tensor([True, False]),
        "half": torch.ones(3, dtype=torch.bfloat16),
    }


def test_what_was_written_comes_back(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    file = tmp_path / "state"
    write_state(file, tensors, FACTS)
    read, facts = read_state(file)
    assert str(facts) == str(FACTS)  # nan is not itself
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
    write_state(file, {"one": torch.ones(1)}, {"done": 8})
    assert set(read_state(file)[0]) == {"one"}
    assert [part.name for part in tmp_path.iterdir()] == ["state"]


def test_damage_to_any_byte_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "state"
    write_state(file, {"rows": torch.tensor([1, 5])}, {"done": 7})
    sound = file.read_bytes()
    for place in range(len(sound)):
        for bit in (0, 7):
            damaged = bytearray(sound)
            damaged[place] ^= 1 << bit
            file.write_bytes(damaged)
            with pytest.raises(RunFolderError, match="is damaged"):
                read_state(file)


def test_a_file_that_was_cut_off_or_is_another_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "state"
    write_state(file, {"rows": torch.tensor([1, 5])}, {"done": 7})
    sound = file.read_bytes()
    for part in (b"", sound[:9], sound[:-1], sound + b"\0", b"PK\3\4 a pickle"):
        file.write_bytes(part)
        with pytest.raises(RunFolderError, match="remove it, and the stage begins anew"):
            read_state(file)
    with pytest.raises(RunFolderError):
        read_state(tmp_path / "nowhere")


def test_nothing_in_it_is_a_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    used = []
    for name in ("dump", "dumps", "Pickler", "load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, lambda *_, name=name, **__: used.append(name))
    write_state(tmp_path / "state", {"rows": torch.tensor([1, 5])}, FACTS)
    tensors, facts = read_state(tmp_path / "state")
    assert (tensors["rows"].tolist(), facts["done"]) == ([1, 5], FACTS["done"])
    assert used == []
    pickle.dumps(1)
    assert used == ["dumps"]  # which is how it would be seen


def test_an_empty_tensor_is_kept(tmp_path: Path) -> None:
    write_state(tmp_path / "state", {"rows": torch.zeros(0, 3)}, FACTS)
    tensors, _ = read_state(tmp_path / "state")
    assert tensors["rows"].shape == (0, 3)
