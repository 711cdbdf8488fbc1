"""A text's vector is the checkpoint's own, whatever stands beside it in the batch."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel

from coldlm.core.errors import CheckpointError
from coldlm.core.seeding import torch_seed
from coldlm.models import strategy
from coldlm.models.backbone import RandomVectors, load, random_vectors, tiny
from coldlm.models.backbones.backbone_module import Backbone

TEXTS = ("space adventure", "a", "", "大海的故事", "🚀🌙 moon", "the sea, the sea, the sea")

families = pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])


def _ids(backbone: Backbone, text: str) -> list[int]:
    end = [backbone.tokenizer.eos_token_id] if backbone.causal else []
    return [*backbone.tokenizer(text)["input_ids"], *end]


def _batch(backbone: Backbone, pad: int = 0) -> tuple[Tensor, Tensor]:
    """Right-padded ids and mask of all ``TEXTS``."""
    rows = [_ids(backbone, text) for text in TEXTS]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows])
    return ids, mask


def _alone(backbone: Backbone, text: str) -> Tensor:
    ids = torch.tensor([_ids(backbone, text)])
    return backbone(ids, torch.ones_like(ids, dtype=torch.bool))[0]


@families
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_vector_alone_is_the_vector_in_any_batch(family: str, pooling: str) -> None:
    backbone = tiny(family=family, pooling=pooling)
    together = backbone(*_batch(backbone))
    assert together.shape == (len(TEXTS), backbone.width)
    assert together.dtype == torch.float32
    for vector, text in zip(together, TEXTS, strict=True):
        torch.testing.assert_close(vector, _alone(backbone, text), atol=1e-5, rtol=0)


@families
def test_what_stands_in_the_padding_is_irrelevant(family: str) -> None:
    backbone = tiny(family=family)
    assert torch.equal(backbone(*_batch(backbone, pad=0)), backbone(*_batch(backbone, pad=77)))


@families
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_vectors_are_those_of_the_models_own_forward(family: str, pooling: str) -> None:
    backbone = tiny(family=family, pooling=pooling)
    ids, mask = _batch(backbone)
    hidden = backbone.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    expected = {
        "mean": (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True),
        "cls": hidden[:, 0],
        "last": torch.stack([row[n - 1] for row, n in zip(hidden, mask.sum(1), strict=True)]),
    }[pooling]
    torch.testing.assert_close(backbone(ids, mask), expected, atol=1e-5, rtol=0)


@families
def test_different_texts_of_any_language_get_different_finite_vectors(family: str) -> None:
    backbone = tiny(family=family)
    vectors = backbone(*_batch(backbone))
    assert torch.isfinite(vectors).all()
    assert (torch.cdist(vectors, vectors) + torch.eye(len(TEXTS)) > 1e-3).all()


@families
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_lower_then_upper_is_the_whole_at_every_depth(family: str, depth: int) -> None:
    backbone = tiny(family=family, layers=3)
    ids, mask = _batch(backbone)
    backbone.depth = 0
    whole = backbone(ids, mask)
    backbone.depth = depth
    torch.testing.assert_close(
        backbone.upper(backbone.lower(ids, mask), mask), whole, atol=1e-6, rtol=0
    )
    assert not backbone.lower(ids, mask).requires_grad


@families
def test_lower_goes_on_from_any_stage(family: str) -> None:
    backbone = strategy.frozen(tiny(family=family, layers=3))
    ids, mask = _batch(backbone)
    whole = backbone.lower(ids, mask)
    backbone.depth = 2
    part = backbone.lower(ids, mask)
    backbone.depth = 4
    assert torch.equal(backbone.lower(part, mask, 2), whole)


def _training(module: nn.Module) -> set[str]:
    return {
        name for name, part in module.named_modules() if part.training and not list(part.children())
    }


@families
def test_a_new_backbone_is_in_eval_mode_and_frozen(family: str) -> None:
    backbone = tiny(family=family)
    assert _training(backbone) == set()
    assert backbone.is_frozen
    assert not any(p.requires_grad for p in backbone.parameters())


@families
def test_train_leaves_frozen_stages_in_eval_mode(family: str) -> None:
    backbone = strategy.top(tiny(family=family, layers=2), layers=1).train()
    layers = "model.h." if family == "gpt2" else "model.encoder.layer."
    assert _training(backbone)
    assert all(
        name.startswith(f"{layers}1.") or name == "model.ln_f" for name in _training(backbone)
    )
    assert _training(strategy.frozen(tiny(family=family)).train()) == set()
    assert _training(backbone.eval()) == set()


@families
def test_train_under_full_reaches_every_module_that_has_a_dropout(family: str) -> None:
    backbone = strategy.full(tiny(family=family)).train()
    assert all(part.training for part in backbone.modules() if isinstance(part, nn.Dropout))


@families
def test_train_under_lora_wakes_its_dropout_and_no_other(family: str) -> None:
    backbone = strategy.lora(tiny(family=family), dropout=0.5).train()
    assert all("lora_dropout" in name for name in _training(backbone))
    with torch.no_grad():
        for name, p in backbone.named_parameters():
            if "lora_B" in name:
                p.fill_(0.3)
    ids, mask = _batch(backbone)
    assert not torch.equal(backbone(ids, mask), backbone(ids, mask))
    backbone.eval()
    assert torch.equal(backbone(ids, mask), backbone(ids, mask))


def _step(backbone: Backbone) -> tuple[Tensor, list[Tensor], int]:
    """Vectors and gradients of a training step with dropout, and the bytes that wait for the way
    back."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch_seed(0), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        vectors = backbone.train()(*_batch(backbone))
        waiting = sum(kept.values())
        trained = [p for p in backbone.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(
            vectors.pow(2).sum(), trained, allow_unused=True, materialize_grads=True
        )
    return vectors.detach(), list(gradients), waiting


@families
@pytest.mark.parametrize("name", ["full", "top", "lora", "adalora", "adapter", "prefix", "prompt"])
def test_checkpointing_keeps_less_and_changes_no_number(family: str, name: str) -> None:
    backbone = getattr(strategy, name)(tiny(family=family, layers=3))
    vectors, gradients, waiting = _step(backbone)
    assert any(gradient.any() for gradient in gradients)
    backbone.checkpointing = True
    again, others, less = _step(backbone)
    assert torch.equal(again, vectors)
    assert all(torch.equal(one, two) for one, two in zip(gradients, others, strict=True))
    assert less < 0.7 * waiting


@pytest.mark.long
@pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is none"
)
@pytest.mark.filterwarnings("ignore")  # of the compiler, about its own insides
@pytest.mark.parametrize(("family", "name"), [("bert", "top"), ("gpt2", "full")])
def test_compiled_layers_give_the_same_vectors_and_gradients(family: str, name: str) -> None:
    backbone = getattr(strategy, name)(tiny(family=family)).eval()
    names = list(backbone.state_dict())
    trained = [p for p in backbone.parameters() if p.requires_grad]

    def step(texts: slice) -> tuple[Tensor, ...]:
        ids, mask = (part[texts] for part in _batch(backbone))
        vectors = backbone(ids, mask)
        return vectors, *torch.autograd.grad(
            vectors.pow(2).sum(), trained, allow_unused=True, materialize_grads=True
        )

    expected = [step(texts) for texts in (slice(0, 6), slice(1, 4), slice(5, 6))]
    backbone.compile_layers()
    compiled = [layer._compiled_call_impl is not None for layer in backbone.layers]
    assert compiled == [name != "top", True]  # what is constant stays as it is
    assert list(backbone.state_dict()) == names
    for texts, values in zip((slice(0, 6), slice(1, 4), slice(5, 6)), expected, strict=True):
        for got, value in zip(step(texts), values, strict=True):
            torch.testing.assert_close(got, value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "key",
    [
        {"layers": 1}, {"width": 16}, {"heads": 4}, {"pooling": "cls"}, {"seed": 1}, {"family": "roberta"},
        {"max_tokens": 32},  # the first weights are drawn for a table of positions
    ],
)  # fmt: skip
def test_each_key_of_a_tiny_backbone_changes_its_vectors_and_fingerprint(
    key: dict[str, object],
) -> None:
    one, two = tiny(family="bert"), tiny(**{"family": "bert", **key})
    assert one.fingerprint != two.fingerprint
    a, b = _alone(one, "moon"), _alone(two, "moon")
    assert a.shape != b.shape or not torch.allclose(a, b)


def test_max_tokens_is_carried_and_the_same_seed_gives_the_same_weights() -> None:
    assert tiny(family="bert", max_tokens=17).max_tokens == 17
    one, two = tiny(family="bert"), tiny(family="bert")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.fixture(scope="module", params=["bert", "roberta", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint on disk, as a tool of another maker would have written it."""
    folder = tmp_path_factory.mktemp(request.param)
    backbone = tiny(family=request.param)
    backbone.model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    return folder


def test_a_folder_loads_as_the_auto_model_does(folder: Path) -> None:
    backbone = load(name="mine", path=str(folder))
    ids, mask = _batch(backbone)
    theirs = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    hidden = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    expected = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(backbone(ids, mask), expected, atol=1e-5, rtol=0)
    assert _training(backbone) == set()


def test_what_is_loaded_has_no_unused_pooler(folder: Path) -> None:
    assert not [
        name
        for name, _ in load(name="mine", path=str(folder)).named_parameters()
        if "pooler" in name
    ]


def test_keys_of_load_reach_the_backbone(folder: Path) -> None:
    keys = {
        "item_prefix": "p: ",
        "query_prefix": "q: ",
        "released": "2019-07",
        "max_tokens": 9,
        "pooling": "last",
    }
    backbone = load(name="mine", path=str(folder), dropout=0.25, **keys)
    assert {key: getattr(backbone, key) for key in keys} == keys
    drops = {part.p for part in backbone.modules() if isinstance(part, nn.Dropout)}
    assert drops == {0.25}
    plain = load(name="mine", path=str(folder))
    assert {part.p for part in plain.modules() if isinstance(part, nn.Dropout)} == {0.1}


def test_the_fingerprint_follows_weights_and_pooling(folder: Path, tmp_path: Path) -> None:
    one = load(name="mine", path=str(folder))
    assert load(name="other", path=str(folder)).fingerprint == one.fingerprint
    assert load(name="mine", path=str(folder), pooling="last").fingerprint != one.fingerprint
    with torch.no_grad():
        next(one.model.parameters()).add_(1e-3)
    one.model.save_pretrained(tmp_path)
    one.tokenizer.save_pretrained(tmp_path)
    other = load(name="mine", path=str(tmp_path)).fingerprint
    assert other != one.fingerprint
    config = json.loads((tmp_path / "config.json").read_text())
    key = "activation_function" if config["model_type"] == "gpt2" else "hidden_act"
    (tmp_path / "config.json").write_text(json.dumps(config | {key: "relu"}))
    # the same weights, another model
    assert load(name="mine", path=str(tmp_path)).fingerprint != other


def test_weights_of_another_hash_are_refused(folder: Path) -> None:
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    load(name="mine", path=str(folder), sha256=sha256)
    with pytest.raises(CheckpointError, match="expected 0000"):
        load(name="mine", path=str(folder), sha256="0" * 64)


def test_weights_that_are_missing_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    lost = next(name for name in weights if re.search(r"(LayerNorm|ln_1)\.weight$", name))
    save_file(
        {name: tensor for name, tensor in weights.items() if name != lost}, file, {"format": "pt"}
    )
    with pytest.raises(
        CheckpointError, match=rf"1 weights are not in .*, the first is '{re.escape(lost)}'"
    ):
        load(name="mine", path=str(tmp_path))


def test_weights_that_do_not_fit_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    norm = next(name for name in weights if re.search(r"1\..*(LayerNorm|ln_1)\.weight$", name))

    def refused(weights: dict[str, torch.Tensor], message: str, **config: object) -> None:
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        said = json.loads((tmp_path / "config.json").read_text()) | config
        (tmp_path / "config.json").write_text(json.dumps(said))
        with pytest.raises(CheckpointError, match=message):
            load(name="mine", path=str(tmp_path))

    refused(
        weights | {norm: torch.ones(3)},
        rf"weight '{re.escape(norm)}' is \[3\], its config.json makes it \[32\]",
    )
    refused(
        weights | {norm: torch.full((32,), torch.nan)},
        f"weight '{re.escape(norm)}' holds numbers that are not",
    )
    one_layer = {"num_hidden_layers": 1, "n_layer": 1}
    refused(weights, "is of a layer that its config.json leaves out", **one_layer)
    auto = {"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine", "AutoModel": "code.Mine"}}
    refused(weights, "needs code of its own, which is never run", **auto)


def test_loading_is_silent_even_where_weights_are_not_needed(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | {"pooler.dense.bias": torch.zeros(2)}, file, {"format": "pt"})
    load(name="mine", path=str(tmp_path))
    assert capfd.readouterr() == ("", "")


def test_random_vectors_name_a_width_and_a_seed() -> None:
    assert random_vectors(width=5, seed=3) == RandomVectors(5, 3)
