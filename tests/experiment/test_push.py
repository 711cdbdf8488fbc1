"""Pushed runs: each strategy's folder makes the run's own vectors with the lines of its card, without coldlm; and what
is refused.

The strategies' weights are drawn, not trained, so that every part of every layout matters.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import DistilBertConfig, DistilBertModel

from coldlm.config.build import build
from coldlm.config.schema import RunConfig
from coldlm.config.tree import CONF
from coldlm.core.errors import CheckpointError, ConfigError, RunFolderError
from coldlm.experiment.encoder import make_backbone
from coldlm.experiment.push import find_source, write_push
from coldlm.models.backbones.checkpoints import seen_until
from coldlm.models.backbones.scratch import byte_tokenizer
from coldlm.report.measured import make_report
from coldlm.report.table import metric
from coldlm.runs.resolved import read_config, write_config
from coldlm.text.encode import TextEncoder

TEXTS = [
    "space adventure",
    "大海",
    "",
    "a star ship, and a longer text than there is room for in a block",
]

CODE = re.compile(r"```python\n(.*?)```", re.S)

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
"""peft asks transformers for it."""

CASES: dict[str, dict[str, Any]] = {
    "frozen": {},
    "top": {},
    "full": {},
    "bitfit": {},
    "lora": {},
    "lora, dora": {"use_dora": True, "targets": "all"},
    "lora, three, rslora": {"use_rslora": True, "stream_adapters": 2},
    "adalora": {},
    "ia3": {},
    "prefix": {},
    "prefix, projected": {"projection": 8},
    "prompt": {},
    "adapter": {"variant": "houlsby", "activation": "tanh"},
}
"""Strategy, and what else is told of it -> keys of it that are not the default's."""

FAMILIES = {"bert": "mean", "roberta": "cls", "gpt2": "last", "bert, asked": "attention"}
"""Family, and what else -> pooling."""


def node(group: str, option: str, **keys: Any) -> dict[str, Any]:
    """An option of the configuration, with other values of these keys; composing all of it takes longer."""
    found: Any = OmegaConf.to_container(OmegaConf.load(Path(str(CONF)) / group / f"{option}.yaml"))
    return {**found, **keys}


def changed(config: RunConfig, case: str, family: str = "bert") -> RunConfig:
    """The configuration under this strategy over a tiny backbone of this family."""
    tiny = f"tiny_{family.partition(',')[0]}"
    scope = {"scope": node("online/scope", "next_adapter")} if "three" in case else {}
    return replace(
        config,
        online=replace(config.online, **scope),
        strategy=node("strategy", case.partition(",")[0], **CASES[case]),
        backbone=node("backbone", tiny, width=16, pooling=FAMILIES[family]),
    )


@pytest.fixture(scope="module")
def plain(finished: Path) -> RunConfig:
    """What is changed here."""
    return read_config(finished)


MakeRun = Callable[..., tuple[Path, Tensor]]


@pytest.fixture
def drawn(finished: Path, tmp_path: Path) -> MakeRun:
    """``drawn(config)``: a run folder of this configuration whose weights are drawn, and [n, D] what its
    backbone makes of ``TEXTS``."""

    def make(config: RunConfig, name: str = "run") -> tuple[Path, Tensor]:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(finished / "manifest.json", folder)
        write_config(folder, config)
        backbone, state = make_backbone(config), {"head.scale": torch.ones(3)}
        draw = torch.Generator().manual_seed(1)
        for key, tensor in (*backbone.named_parameters(), *backbone.named_buffers()):
            if key == "ranks.kept":
                tensor[:, 1] = 0  # what was given up
            elif tensor.requires_grad or ".stream" in key:
                tensor.data += 0.3 * torch.randn(tensor.shape, generator=draw)
            else:
                continue
            state[f"encoder.body.{key}"] = tensor.detach()
        save_file(
            {key: tensor.contiguous() for key, tensor in state.items()},
            folder / "model.safetensors",
        )
        encoder = TextEncoder(backbone, [""], np.array([0])).eval()
        with torch.no_grad():
            return folder, encoder.texts(TEXTS)

    return make


def pushed(run: Path, **keys: Any) -> Path:
    folder = run.with_name(f"{run.name} pushed")
    folder.mkdir()
    write_push(find_source(run, **keys), folder)
    return folder


def by_its_card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    (code,) = CODE.findall((folder / "README.md").read_text(encoding="utf-8"))
    monkeypatch.chdir(folder)
    space: dict[str, Any] = {}
    exec(code, space)
    found: Tensor = space["vectors"](TEXTS)
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_lines_of_the_card_make_the_runs_vectors(
    case: str, plain: RunConfig, drawn: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, expected = drawn(changed(plain, case))
    folder = pushed(run)
    torch.testing.assert_close(by_its_card(folder, monkeypatch), expected, rtol=0, atol=1e-5)
    pickles = (".bin", ".pt", ".pkl", ".ckpt")
    assert not [file for file in folder.rglob("*") if file.suffix in pickles]


@pytest.mark.parametrize(
    ("family", "case"),
    [
        ("gpt2", "lora"),
        ("gpt2", "prefix"),
        ("gpt2", "prompt"),
        ("roberta", "prompt"),
        ("bert, asked", "frozen"),
    ],
)
def test_of_other_families_and_poolings_too(
    family: str, case: str, plain: RunConfig, drawn: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, expected = drawn(changed(plain, case, family))
    torch.testing.assert_close(by_its_card(pushed(run), monkeypatch), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ["full", "lora"])
def test_of_a_model_that_is_run_as_one_stage(
    case: str, plain: RunConfig, drawn: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = byte_tokenizer("bert")
    shape = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
    DistilBertModel(DistilBertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(
        tmp_path / "base"
    )
    tokenizer.save_pretrained(tmp_path / "base")
    over = node("backbone", "local", path=str(tmp_path / "base"), max_tokens=32)
    run, expected = drawn(replace(changed(plain, case), backbone=over))
    torch.testing.assert_close(by_its_card(pushed(run), monkeypatch), expected, rtol=0, atol=1e-5)


ALONE = """
import json, os, re, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "coldlm":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
from safetensors.torch import load_file
texts, apart = json.loads(sys.argv[1]), {}
for folder in sys.argv[2:]:
    os.chdir(folder)
    space = {}
    exec(re.search(r"```python\\n(.*?)```", open("README.md").read(), re.S)[1], space)
    expected = load_file(folder + ".expected")["vectors"]
    apart[folder] = float((space["vectors"](texts) - expected).abs().max())
assert "coldlm" not in sys.modules
print(json.dumps(apart))
"""


@pytest.mark.long
def test_every_strategy_and_family_in_a_process_without_coldlm(
    plain: RunConfig, drawn: MakeRun
) -> None:
    folders = []
    for family in FAMILIES:
        for case in CASES:
            run, expected = drawn(changed(plain, case, family), f"{family} {case}")
            folders.append(str(pushed(run)))
            save_file({"vectors": expected.contiguous()}, f"{folders[-1]}.expected")
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, json.dumps(TEXTS), *folders],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    apart = json.loads(done.stdout.splitlines()[-1])
    assert len(apart) == len(CASES) * len(FAMILIES)
    assert max(apart.values()) < 1e-5, apart


def test_files_are_those_of_the_layout(plain: RunConfig, drawn: MakeRun) -> None:
    run, _ = drawn(changed(plain, "lora"))
    folder = pushed(run)
    about = json.loads((folder / "adapter_config.json").read_text())
    assert (about["peft_type"], about["r"], about["inference_mode"]) == ("LORA", 8, True)
    tensors = load_file(folder / "adapter_model.safetensors")
    assert {name.rpartition(".lora_")[2] for name in tensors} == {"A.weight", "B.weight"}
    assert all(name.startswith("base_model.model.encoder.layer.") for name in tensors)
    assert (folder / "base" / "config.json").is_file()
    head = json.loads((folder / "head" / "head.json").read_text())
    assert head["_target_"] == "coldlm.models.towers.Towers"
    assert head["tensors"] == {"scale": [3]}
    assert load_file(folder / "head" / "head.safetensors")["scale"].tolist() == [1, 1, 1]


def test_a_base_that_has_a_public_name_is_named_and_not_copied(
    plain: RunConfig, drawn: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = changed(plain, "lora")
    run, _ = drawn(made)
    tiny = build(made.backbone)
    named = node("backbone", "gpt2", hub="somebody/model", revision="abc")
    source = replace(find_source(run), config=replace(made, backbone=named))
    monkeypatch.setattr("coldlm.experiment.push.make_backbone", lambda config: make_backbone(made))
    monkeypatch.setattr("coldlm.experiment.push.build", lambda node: tiny)
    folder = run.with_name("named")
    folder.mkdir()
    write_push(source, folder, "me/mine")
    assert not (folder / "base").exists()
    about = json.loads((folder / "adapter_config.json").read_text())
    assert (about["base_model_name_or_path"], about["revision"]) == ("somebody/model", "abc")
    said = (folder / "README.md").read_text()
    assert "base_model: somebody/model\n" in said
    assert 'AutoModel.from_pretrained("somebody/model", revision="abc"' in said
    assert 'folder = snapshot_download("me/mine")' in said


def test_a_whole_model_is_a_backbone_again_and_knows_how_new_it_is(
    plain: RunConfig, drawn: MakeRun
) -> None:
    run, expected = drawn(changed(plain, "full"))
    folder = pushed(run)
    local = node("backbone", "local", path=str(folder), max_tokens=plain.backbone["max_tokens"])
    backbone = make_backbone(replace(plain, backbone=local))
    with torch.no_grad():
        found = TextEncoder(backbone, [""], np.array([0])).eval().texts(TEXTS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    t_test = json.loads((run / "manifest.json").read_text())["dataset"]["dates"]["t_test"]
    assert seen_until(folder) == t_test[:7] == backbone.released
    # a checkpoint that is newer than the data stays so, whether it is trained on or beneath an adapter
    for case, model in (("full", "."), ("lora", "base")):
        newer = replace(changed(plain, case), backbone=local | {"released": "2999-01"})
        assert seen_until(pushed(drawn(newer, case)[0]) / model) == "2999-01"


@pytest.mark.parametrize("strategy", ["lora", "adapter"])
def test_what_was_added_is_no_backbone(strategy: str, plain: RunConfig, drawn: MakeRun) -> None:
    run, _ = drawn(changed(plain, strategy))
    with pytest.raises(CheckpointError, match=r"a strategy added to a model .* no whole model"):
        build(node("backbone", "local", path=str(pushed(run))))


def test_the_last_weights_or_those_of_a_stage(
    finished: Path, plain: RunConfig, drawn: MakeRun
) -> None:
    assert find_source(finished).stage == "online"
    assert find_source(finished, "train").file.name == "model.safetensors"
    run, _ = drawn(plain)
    assert find_source(run).stage == "train"
    with pytest.raises(
        RunFolderError, match=r"no weights of stage online .*there are those of train"
    ):
        find_source(run, "online")
    (run / "model.safetensors").unlink()
    with pytest.raises(RunFolderError, match="no trained model"):
        find_source(run)


@pytest.mark.parametrize(
    ("group", "option", "keys", "why"),
    [
        ("head", "zero_shot", {}, "is zero-shot"),
        ("backbone", "random_vectors", {}, "has a random vector in place of each text"),
        ("head", "towers", {"context": "only"}, "reads no text"),
    ],
)
def test_runs_without_a_model_of_texts_are_refused(
    group: str, option: str, keys: dict[str, Any], why: str, plain: RunConfig, drawn: MakeRun
) -> None:
    run, _ = drawn(plain)
    write_config(run, replace(plain, **{group: node(group, option, **keys)}))
    with pytest.raises(ConfigError, match=f"{why}.*allowed are runs that train one"):
        find_source(run)


def test_a_prefix_in_some_layers_and_other_weights_are_refused(
    plain: RunConfig, drawn: MakeRun
) -> None:
    made = changed(plain, "prefix")
    run, _ = drawn(replace(made, strategy=made.strategy | {"layers": 1}))
    with pytest.raises(ConfigError, match="a prefix in 1 of 2 layers"):
        pushed(run)
    write_config(run, changed(plain, "lora"))
    with pytest.raises(RunFolderError, match="holds no weights of this run's model"):
        write_push(find_source(run), run)


def test_the_card_has_the_reports_numbers(finished: Path, tmp_path: Path) -> None:
    cards = {}
    for stage in ("online", "train"):
        (tmp_path / stage).mkdir()
        write_push(find_source(finished, stage), tmp_path / stage)
        cards[stage] = (tmp_path / stage / "README.md").read_text(encoding="utf-8")
    (headline,) = make_report([finished]).headlines
    rows = [m for m in headline.measures if m.row.kind != "baseline"]
    assert len(rows) > 1
    for m in rows:
        numbers = metric(m.value), f"[{metric(m.headline.low)}, {metric(m.headline.high)}]"
        assert f"{m.row.name} | {numbers[0]} | {numbers[1]} |" in cards["train"]
    assert headline.best_trivial is not None
    assert f"| *{headline.best_trivial.label}* |" in cards["train"]
    manifest = json.loads((finished / "manifest.json").read_text())
    for fact in (manifest["commit"], manifest["config_hash"], manifest["dataset"]["cut"]):
        assert fact in cards["train"]


def test_the_card_says_what_the_weights_have_seen(plain: RunConfig, drawn: MakeRun) -> None:
    run, _ = drawn(changed(plain, "lora"))
    shutil.copy(run / "model.safetensors", run / "online.safetensors")
    said = {}
    for stage in ("online", "train"):
        said[stage] = (pushed(run, stage=stage) / "README.md").read_text(encoding="utf-8")
        shutil.rmtree(run.with_name("run pushed"))
    assert ["no number below is of this state" in text for text in said.values()] == [True, False]
    assert all("this run was not scored" in text for text in said.values())
    t_test = json.loads((run / "manifest.json").read_text())["dataset"]["dates"]["t_test"]
    assert f"known before {t_test}" in said["train"]


def test_a_leaky_split_lets_nobody_say_when_training_ended(
    plain: RunConfig, drawn: MakeRun
) -> None:
    off = replace(plain.online, trigger=node("online/trigger", "off"))
    leaky = replace(changed(plain, "full"), split=node("split", "random"), online=off)
    run, _ = drawn(leaky)
    folder = pushed(run)
    assert "the future leaks into (LEAKY)" in (folder / "README.md").read_text(encoding="utf-8")
    dates = json.loads((run / "manifest.json").read_text())["dataset"]["dates"]
    assert dates["t_test"] < dates["windows"][-1]
    assert (
        json.loads((folder / "pretrained.json").read_text())["texts_until"] == dates["windows"][-1]
    )


def test_a_control_says_that_it_is_one(plain: RunConfig, drawn: MakeRun) -> None:
    control = replace(plain.control, name="permuted_text")
    run, _ = drawn(replace(changed(plain, "lora"), control=control))
    said = (pushed(run) / "README.md").read_text(encoding="utf-8")
    assert "THIS RUN IS ONE (permuted_text)" in said
