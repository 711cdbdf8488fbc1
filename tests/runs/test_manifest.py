"""The run folder: whose it is, and that a reader never sees half a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from coldlm.config.schema import RunConfig
from coldlm.core.errors import RunFolderError
from coldlm.core.files import write_file
from coldlm.runs.identity import axes, config_hash, flatten, open_run
from coldlm.runs.manifest import Manifest

MakeConfig = Callable[..., RunConfig]


def hold(folder: Path, config: RunConfig) -> None:
    """Make ``folder`` the run folder of ``config``."""
    folder.mkdir()
    (folder / "config.resolved.yaml").write_text(
        OmegaConf.to_yaml(OmegaConf.create(config.plain()))
    )
    (folder / "manifest.json").write_text(
        json.dumps({"config_hash": config_hash(config), "done": ["train"]})
    )


def test_a_run_is_what_it_does_and_not_where_it_lives(config: MakeConfig) -> None:
    one = config()
    moved = replace(one, output="elsewhere", name="other", cache="there", stages=["train"])
    assert config_hash(moved) == config_hash(one)
    assert config_hash(replace(one, seed=2)) != config_hash(one)
    assert config_hash(replace(one, head={**one.head, "width": 65})) != config_hash(one)


def test_a_run_is_the_same_whoever_watches_it(tmp_path: Path, config: MakeConfig) -> None:
    one = config()
    watched = replace(one, logger=replace(one.logger, group="mine"))
    assert config_hash(watched) == config_hash(one)
    hold(tmp_path / "mine", one)
    assert open_run(tmp_path / "mine", watched).done == ["train"]
    with pytest.raises(RunFolderError) as refused:
        open_run(tmp_path / "mine", replace(watched, seed=2))
    assert "logger" not in str(refused.value)


def test_the_order_of_keys_is_no_difference(config: MakeConfig) -> None:
    one = config()
    assert config_hash(replace(one, head=dict(reversed(one.head.items())))) == config_hash(one)


def test_a_new_folder_starts_a_new_run(tmp_path: Path, config: MakeConfig) -> None:
    one = config()
    assert open_run(tmp_path / "new", one) == Manifest(config_hash(one))
    assert not (tmp_path / "new").exists()


def test_the_same_configuration_opens_its_run_again(tmp_path: Path, config: MakeConfig) -> None:
    hold(tmp_path / "mine", config())
    assert open_run(tmp_path / "mine", replace(config(), stages=["online"])).done == ["train"]


def test_another_configuration_is_refused_with_every_difference(
    tmp_path: Path, config: MakeConfig
) -> None:
    hold(tmp_path / "mine", config())
    with pytest.raises(RunFolderError) as refused:
        open_run(tmp_path / "mine", config("seed=2", "strategy=lora"))
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / 'mine'} holds a run of another configuration: ")
    assert "seed was 1, is 2" in message
    assert "strategy.rank was None, is 8" in message
    assert "output" not in message
    assert message.endswith("Give this run another name=..., or remove the folder")


def test_a_folder_without_its_configuration_is_refused_too(
    tmp_path: Path, config: MakeConfig
) -> None:
    hold(tmp_path / "mine", config())
    (tmp_path / "mine" / "config.resolved.yaml").unlink()
    with pytest.raises(RunFolderError, match=r"its config\.resolved\.yaml is missing"):
        open_run(tmp_path / "mine", config("seed=2"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"done": []}'])
def test_a_manifest_that_is_none_is_refused_by_name(
    tmp_path: Path, config: MakeConfig, content: str
) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"manifest\.json"):
        open_run(tmp_path, config())


def test_axes_name_what_a_sweep_compares(config: MakeConfig) -> None:
    found = axes(config("strategy=lora", "strategy.rank=4"))
    assert found["strategy"] == "lora rank=4 alpha=16 targets=attention"
    assert (found["dataset"], found["backbone"], found["split"], found["seed"]) == (
        "simulated",
        "tiny_bert",
        "time",
        "1",
    )
    assert (found["context"], found["control"], found["online"]) == ("on", "none", "per_window")


def test_backbones_have_axes_of_their_own(config: MakeConfig) -> None:
    names = ["tiny_bert", "tiny_roberta", "tiny_gpt2", "random_vectors", "minilm"]
    made = [
        axes(replace(config(), backbone=config(f"backbone={name}").backbone))["backbone"]
        for name in names[:-1]
    ]
    assert made == names[:-1]


def test_nested_keys_are_joined_by_dots() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {
        "a.b": 1,
        "a.c.d": [2],
        "e": None,
    }


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    write_file(file, lambda part: part.write_text("old"))

    def tear(part: Path) -> None:
        part.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_file(file, tear)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_where_data_lies_is_no_part_of_a_recipe() -> None:
    recipe = {"dataset.root": "/here", "dataset.cache": "there", "dataset.seed": 3}
    said = {"config_hash": "x", "done": [], "recipe": recipe}
    assert Manifest.of(said).recipe == {"plugins": [], "dataset.seed": 3}
