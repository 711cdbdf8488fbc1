"""Models of texts of any architecture: random ones of each, saved by transformers itself, loaded
from their folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModel

from coldlm.core.errors import CheckpointError
from coldlm.core.seeding import torch_seed
from coldlm.models import strategy
from coldlm.models.backbone import load, tiny
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.backbones.scratch import byte_tokenizer
from coldlm.text.encode import TextEncoder

LAYERS, WIDTH = 3, 32
NAMED = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
USUAL = {**NAMED, "intermediate_size": 64, "max_position_embeddings": 66}
BEHIND = {**USUAL, "max_position_embeddings": 67, "pad_token_id": 0}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "distilbert": (
        "DistilBert",
        {
            "dim": WIDTH,
            "n_layers": LAYERS,
            "n_heads": 2,
            "hidden_dim": 64,
            "max_position_embeddings": 66,
        },
    ),
    "electra": ("Electra", {**USUAL, "embedding_size": 16}),
    "mpnet": ("MPNet", {**USUAL, "max_position_embeddings": 68}),  # its padding is always token 1
    "albert": ("Albert", {**USUAL, "embedding_size": 16}),
    "xlm-roberta": ("XLMRoberta", BEHIND),
    "camembert": ("Camembert", BEHIND),
    "deberta-v2": (
        "DebertaV2",
        {
            **USUAL,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 16,
        },
    ),
    "modernbert": (
        "ModernBert",
        {**USUAL, "local_attention": 8, "pad_token_id": 0, "cls_token_id": 1},
    ),
    "xlnet": ("XLNet", {"d_model": WIDTH, "n_layer": LAYERS, "n_head": 2, "d_inner": 64}),
}
DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {**USUAL, "bos_token_id": 0, "eos_token_id": 0}),
    "qwen2": ("Qwen2", {**USUAL, "num_key_value_heads": 1}),
    "opt": (
        "OPT",
        {**NAMED, "ffn_dim": 64, "word_embed_proj_dim": 16, "max_position_embeddings": 66},
    ),
    "gpt_neox": ("GPTNeoX", USUAL),
    "bloom": ("Bloom", {"hidden_size": WIDTH, "n_layer": LAYERS, "n_head": 2}),
    "bert as a decoder": ("Bert", {**USUAL, "is_decoder": True}),
}
FAMILIES = {**ENCODERS, **DECODERS}
TEXTS = ("space adventure", "a", "大海的故事", "🚀🌙 moon", "the sea, the sea, the sea")

families = pytest.mark.parametrize("family", FAMILIES)
Open = Callable[..., Backbone]


pytestmark = pytest.mark.long


def _save(family: str, folder: Path) -> Path:
    """A random model with a byte tokenizer, as transformers writes them."""
    name, keys = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(vocab_size=300, **keys)
    with torch_seed(0, family):
        model: Any = AutoModel.from_config(config)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))  # else all tokens look alike
    model.save_pretrained(folder)
    byte_tokenizer("gpt2" if family in DECODERS else "bert").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family; made once."""
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = _save(family, tmp_path_factory.mktemp("model"))
        return made[family]

    return get


@pytest.fixture
def local(folder: Callable[[str], Path]) -> Open:
    return lambda family, **keys: load(
        name="mine", path=str(folder(family)), **{"max_tokens": 40, **keys}
    )


def _batch(backbone: Backbone, side: str = "right") -> tuple[Tensor, Tensor]:
    end = [backbone.tokenizer.eos_token_id] if backbone.causal else []
    rows = [[*backbone.tokenizer(text)["input_ids"], *end] for text in TEXTS]
    longest = max(map(len, rows))
    empty = [[7] * (longest - len(row)) for row in rows]
    pairs = zip(rows, empty, strict=True)
    ids = [row + fill if side == "right" else fill + row for row, fill in pairs]
    real = [[True] * len(row) + [False] * len(fill) for row, fill in zip(rows, empty, strict=True)]
    return torch.tensor(ids), torch.tensor([row if side == "right" else row[::-1] for row in real])


def _alone(backbone: Backbone, i: int) -> Tensor:
    ids, mask = _batch(backbone)
    return backbone(ids[i : i + 1, mask[i]], mask[i : i + 1, mask[i]])[0]


@families
def test_a_model_says_itself_whether_it_is_causal(family: str, local: Open) -> None:
    assert local(family).causal == (family in DECODERS)


@families
@pytest.mark.parametrize("pooling", ["mean", "last", "cls", "attention"])
def test_a_vector_alone_is_the_vector_in_any_batch_padded_on_either_side(
    family: str, pooling: str, local: Open
) -> None:
    if pooling == "cls" and family in DECODERS:
        with pytest.raises(CheckpointError, match="has read nothing else; use last or mean"):
            local(family, pooling=pooling)
        return
    backbone = local(family, pooling=pooling)
    if backbone.query is not None:
        with torch.no_grad():
            backbone.query.copy_(torch.linspace(-3, 3, backbone.width))
    together = backbone(*_batch(backbone))
    assert together.shape == (len(TEXTS), backbone.width)
    assert (torch.cdist(together, together) + torch.eye(len(TEXTS)) > 1e-3).all()
    torch.testing.assert_close(backbone(*_batch(backbone, "left")), together, atol=1e-5, rtol=0)
    for i, vector in enumerate(together):
        torch.testing.assert_close(vector, _alone(backbone, i), atol=1e-5, rtol=0)


@families
def test_vectors_are_those_of_the_models_own_forward_for_one_text(
    family: str, local: Open, folder: Callable[[str], Path]
) -> None:
    backbone = local(family)
    theirs = AutoModel.from_pretrained(folder(family), dtype=torch.float32).eval()
    ids, mask = _batch(backbone)
    with torch.no_grad():
        expected = theirs(ids[:1, mask[0]]).last_hidden_state.mean(1)[0]
    torch.testing.assert_close(_alone(backbone, 0), expected, atol=1e-5, rtol=0)


@families
@pytest.mark.parametrize("name", ["frozen", "full", "top", "lora"])
def test_strategies_start_untouched_train_what_they_say_and_refuse_what_they_cannot(
    family: str, name: str, local: Open
) -> None:
    untouched = local(family)
    if (family, name) == ("albert", "top"):
        with pytest.raises(
            ValueError, match="share their weights or cannot be told apart; use strategy=full"
        ):
            strategy.top(untouched)
        return
    backbone = getattr(strategy, name)(local(family))
    before = untouched(*_batch(untouched))
    vectors = backbone(*_batch(backbone))
    torch.testing.assert_close(vectors, before, atol=1e-6, rtol=0)
    trained = {n: p.detach().clone() for n, p in backbone.named_parameters() if p.requires_grad}
    assert bool(trained) == (name != "frozen") == (not backbone.is_frozen)
    if not trained:
        return
    others = {n: p.detach().clone() for n, p in backbone.named_parameters() if not p.requires_grad}
    for _ in range(2):
        optimiser = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
        optimiser.zero_grad()
        (backbone.train()(*_batch(backbone)) * torch.linspace(-1, 1, backbone.width)).pow(
            2
        ).sum().backward()
        optimiser.step()
    now = dict(backbone.named_parameters())
    assert all(torch.equal(now[n], p) for n, p in others.items())
    assert sum(not torch.equal(now[n], p) for n, p in trained.items()) > len(trained) / 2
    if name == "top" and backbone.family == "other":
        layers = {n for n in trained if any(p is now[n] for p in backbone.layers[-1].parameters())}
        assert all("norm" in n.lower() or "ln_f" in n for n in trained.keys() - layers)
        assert {
            n for n, _ in backbone.named_parameters() if n.startswith("model.embed")
        } <= others.keys()


@pytest.mark.parametrize("family", ["distilbert", "llama", "albert", "xlm-roberta"])
def test_frozen_layers_keep_their_dropout_asleep(family: str, local: Open) -> None:
    def awake(backbone: Backbone) -> set[nn.Module]:
        leaves = {
            part
            for part in backbone.train().modules()
            if part.training and not list(part.children())
        }
        return {leaf for leaf in leaves if not isinstance(leaf, nn.Identity)}

    assert awake(strategy.frozen(local(family))) == set()
    assert awake(strategy.lora(local(family))) == set()
    whole = strategy.full(local(family)).train().model
    assert all(part.training for part in whole.modules() if not list(part.children()))
    if family != "albert":
        backbone = strategy.top(local(family))
        assert awake(backbone) <= {*backbone.layers[-1].modules()}
        assert awake(backbone)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("distilbert", {"q_lin", "v_lin"}),
        ("electra", {"query", "value"}),
        ("mpnet", {"q", "v"}),
        ("albert", {"query", "value"}),
        ("deberta-v2", {"query_proj", "value_proj"}),
        ("modernbert", {"Wqkv"}),
        ("xlnet", {"layer_1", "layer_2"}),  # its projections are no dense layers
        ("llama", {"q_proj", "v_proj"}),
        ("gpt_neox", {"query_key_value"}),
    ],
)
def test_lora_finds_what_makes_queries_and_values_by_name(
    family: str, expected: set[str], local: Open
) -> None:
    backbone = strategy.lora(local(family))
    adapted = [
        name.split(".lora_A")[0] for name, _ in backbone.named_parameters() if "lora_A" in name
    ]
    assert {name.rpartition(".")[2] for name in adapted} == expected
    upper = strategy.lora(local(family), layers=1) if family != "albert" else backbone
    n = sum("lora_A" in name for name, _ in upper.named_parameters())
    assert n == (len(adapted) / LAYERS if family != "albert" else len(adapted))


@pytest.mark.parametrize("family", ["electra", "llama"])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.parametrize("name", ["frozen", "top", "full"])
def test_an_encoder_of_texts_gives_the_vectors_of_single_texts(
    family: str, pooling: str, name: str, local: Open, tmp_path: Path
) -> None:
    import numpy as np

    backbone = getattr(strategy, name)(local(family, pooling=pooling))
    order = np.arange(len(TEXTS))[::-1].copy()
    for _ in range(2):  # the second time from the cache
        encoder = TextEncoder(backbone, TEXTS, order, cache=tmp_path).eval()
        vectors = encoder.all_items()
        for i in range(len(TEXTS)):
            torch.testing.assert_close(vectors[i], _alone(backbone, i), atol=1e-5, rtol=0)
    assert encoder.items(torch.tensor([0, 3])).requires_grad == (
        name != "frozen" or pooling == "attention"
    )


# --- layers that are kept ---------------------------------------------------------------------------------------------


def _pass_by(module: nn.Module, args: tuple[Any, ...], keys: dict[str, Any], out: Any) -> Any:
    hidden = args[0] if args else keys["hidden_states"]
    return (hidden, *out[1:]) if isinstance(out, tuple) else hidden


@pytest.mark.parametrize(
    "family", [family for family in FAMILIES if family not in ("albert", "xlnet")]
)
@pytest.mark.parametrize(("keep", "left_out"), [([0, 2], [1]), (1, [1, 2]), ([2], [0, 1])])
def test_kept_layers_are_the_whole_model_with_the_others_passed_by(
    family: str, keep: Any, left_out: list[int], local: Open
) -> None:
    backbone, whole = local(family, keep_layers=keep), local(family)
    for i in left_out:
        whole.layers[i].register_forward_hook(_pass_by, with_kwargs=True)
    assert len(backbone.layers) == LAYERS - len(left_out) == backbone.model.config.num_hidden_layers
    torch.testing.assert_close(
        backbone(*_batch(backbone)), whole(*_batch(whole)), atol=1e-5, rtol=0
    )
    assert backbone.fingerprint != whole.fingerprint


def test_kept_layers_by_number_and_by_list_are_told_apart_only_if_they_differ(local: Open) -> None:
    prints = {
        str(keep): local("electra", keep_layers=keep).fingerprint
        for keep in (1, 2, [0], [1], [0, 2])
    }
    assert len(set(prints.values())) == len(prints)


@pytest.mark.parametrize(
    ("family", "keep"), [("electra", 4), ("electra", [1, 3]), ("electra", [1, 0]), ("albert", 1)]
)
def test_layers_that_are_not_there_are_refused(family: str, keep: Any, local: Open) -> None:
    there = 0 if family == "albert" else LAYERS
    with pytest.raises(
        CheckpointError, match=rf"backbone.keep_layers=.*: the model has {there} layers that can be"
    ):
        local(family, keep_layers=keep)


# --- attention pooling ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_attention_pooling_starts_as_the_mean_and_asks_by_a_trained_query(family: Any) -> None:
    mean, asked = tiny(family=family), strategy.frozen(tiny(family=family, pooling="attention"))
    ids, mask = _batch(mean)
    torch.testing.assert_close(asked(ids, mask), mean(ids, mask), atol=1e-6, rtol=0)
    assert [name for name, p in asked.named_parameters() if p.requires_grad] == ["query"]
    assert not asked.is_frozen
    with torch.no_grad():
        asked.query.copy_(torch.linspace(-3, 3, asked.width))
    hidden = asked.lower(ids[:1, mask[0]], mask[:1, mask[0]])[0]
    hidden = asked.model.ln_f(hidden) if family == "gpt2" else hidden
    weight = torch.softmax(hidden @ asked.query / asked.width**0.5, 0)
    torch.testing.assert_close(asked(ids, mask)[0], weight @ hidden, atol=1e-5, rtol=0)
    assert not torch.allclose(asked(ids, mask), mean(ids, mask), atol=1e-2)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "t5", "is_encoder_decoder": True, "vocab_size": 9},
            "'t5' model is an encoder-decoder",
        ),
        ({"model_type": "vit", "hidden_size": 8}, "'vit' model reads no text"),
        (
            {"model_type": "clip", "text_config": {}, "vision_config": {}},
            "vision_config, text_config",
        ),
        ({"model_type": "wav2vec2", "vocab_size": 32}, "'wav2vec2' model reads no text"),
        ({"model_type": "nothing_known", "vocab_size": 9}, "it cannot be loaded: .*nothing_known"),
    ],
)
def test_what_is_no_model_of_texts_is_refused_in_words(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=f"backbone 'mine' in .*: .*{message}"):
        load(name="mine", path=str(tmp_path))


def test_a_tokenizer_of_another_model_is_refused(
    folder: Callable[[str], Path], tmp_path: Path
) -> None:
    config = transformers.ElectraConfig(vocab_size=100, **USUAL, embedding_size=16)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    byte_tokenizer("bert").save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="tokenizer has 260 tokens and its model knows 100"):
        load(name="mine", path=str(tmp_path))


@pytest.mark.parametrize(
    ("family", "there"), [("electra", 66), ("mpnet", 66), ("xlm-roberta", 66), ("llama", 66)]
)
def test_more_tokens_than_positions_are_refused(family: str, there: int, local: Open) -> None:
    local(family, max_tokens=there)
    with pytest.raises(
        CheckpointError, match=rf"backbone.max_tokens={there + 1}: it has {there} positions"
    ):
        local(family, max_tokens=there + 1)
