"""What each strategy does in particular; what all of them keep is in test_strategy_contract.py."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest
import torch
from peft import AdaLoraConfig, AdaLoraModel, PrefixTuningConfig, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from coldlm.core.seeding import torch_seed
from coldlm.learn.optimisers import groups
from coldlm.models import strategy
from coldlm.models.backbone import tiny
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.parts.adalora import Ranks
from coldlm.models.parts.prefixes import Prefixed
from coldlm.models.parts.stream_adapters import adapter_number

LAYERS = 3
STRATEGIES = [
    name
    for name, made in vars(strategy).items()
    if getattr(made, "__module__", "") == strategy.__name__
]

families = pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])


def _make(name: str, family: str, pooling: str = "mean", **keys: object) -> Backbone:
    with torch_seed(0):
        made: Backbone = getattr(strategy, name)(
            tiny(family=family, layers=LAYERS, pooling=pooling), **keys
        )
        return made


def _texts() -> tuple[Tensor, Tensor]:
    ids = torch.arange(4, 36).view(4, 8)
    mask = torch.ones(4, 8, dtype=torch.bool)
    mask[1, 5:] = False
    return ids, mask


def _ask(backbone: Backbone) -> Tensor:
    return backbone(*_texts())


def _step(backbone: Backbone, n: int) -> None:
    trained = [p for p in backbone.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.1)
    weight = torch.linspace(-1, 1, backbone.width)
    for _ in range(n):
        optimiser.zero_grad()
        (_ask(backbone) * weight).pow(2).sum().backward()
        optimiser.step()


def _count(backbone: Backbone) -> int:
    return sum(p.numel() for p in backbone.parameters() if p.requires_grad)


def _trains(backbone: Backbone) -> set[int]:
    return {
        i
        for i, layer in enumerate(backbone.layers)
        if any(p.requires_grad for p in layer.parameters())
    }


# --- where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRATEGIES)
def test_bert_and_roberta_of_one_shape_train_equally_many_parameters(name: str) -> None:
    assert _count(_make(name, "bert")) == _count(_make(name, "roberta"))


WITH_LAYERS = [
    name for name in STRATEGIES if "layers" in inspect.signature(getattr(strategy, name)).parameters
]


def test_all_that_adapt_layers_may_be_limited_to_the_top_ones() -> None:
    assert set(STRATEGIES) - set(WITH_LAYERS) == {"frozen", "full", "bitfit", "prompt"}


@pytest.mark.parametrize("name", WITH_LAYERS)
def test_more_layers_than_the_backbone_has_are_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"strategy.layers=4, but backbone 'tiny_bert' has 3 layers.*1 to 3"
    ):
        _make(name, "bert", layers=4)


@families
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", WITH_LAYERS)
def test_layers_are_adapted_from_above_and_the_rest_is_constant(
    name: str, family: str, layers: int
) -> None:
    backbone = _make(name, family, layers=layers)
    assert _trains(backbone) == set(range(LAYERS - layers, LAYERS))
    assert backbone.depth == LAYERS + 1 - layers


@pytest.mark.parametrize("name", [name for name in WITH_LAYERS if name != "top"])
def test_without_a_number_all_layers_are_adapted(name: str) -> None:
    assert _trains(_make(name, "bert")) == {0, 1, 2}


ADAPTED = {
    "attention": {"query", "value", "c_attn"},
    "attention_all": {"query", "key", "value", "attention.output.dense", "c_attn", "attn.c_proj"},
    "ffn": {"intermediate.dense", "layer.output.dense", "c_fc", "mlp.c_proj"},
}
ADAPTED["all"] = ADAPTED["attention_all"] | ADAPTED["ffn"]


@families
@pytest.mark.parametrize("targets", ADAPTED)
@pytest.mark.parametrize("name", ["lora", "adalora"])
def test_targets_are_the_matrices_they_say(name: str, family: str, targets: str) -> None:
    backbone = _make(name, family, targets=targets)
    found = {
        n.partition(".lora_A")[0].replace(".2.", ".")
        for n, _ in backbone.named_parameters()
        if ".2." in n and "lora_A" in n
    }
    own = {end for end in ADAPTED[targets] if ("c_" in end) == (family == "gpt2")}
    assert len(found) == len(own)
    assert all(any(name.endswith(end) for name in found) for end in own)


# --- LoRA, (IA)^3, BitFit ---------------------------------------------------------------------------------------------


@families
@pytest.mark.parametrize(("keys", "scale"), [({}, 6 / 2), ({"use_rslora": True}, 6 / 2**0.5)])
def test_lora_adds_its_scale_times_b_a(family: str, keys: dict[str, Any], scale: float) -> None:
    """One adapted projection, by hand."""
    backbone = _make("lora", family, rank=2, alpha=6, **keys)
    attention = (
        backbone.layers[0].attn.c_attn
        if family == "gpt2"
        else backbone.layers[0].attention.self.query
    )
    a, b = attention.lora_A["default"].weight, attention.lora_B["default"].weight
    with torch_seed(0), torch.no_grad():
        b.normal_()
        x = torch.randn(5, backbone.width)
    expected = attention.base_layer(x) + scale * x @ a.T @ b.T
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


@families
def test_adapters_for_the_stream_wait_and_are_added_up(family: str) -> None:
    alone, backbone = (_make("lora", family, rank=2, alpha=6, stream_adapters=n) for n in (0, 2))
    named = dict(backbone.named_parameters())
    trains = {name for name, p in named.items() if p.requires_grad}
    assert trains == {name for name, p in alone.named_parameters() if p.requires_grad}
    for name, p in alone.named_parameters():  # the first starts as it does without the others
        torch.testing.assert_close(named[name], p)
    waiting = {name for name in named if adapter_number(name)}
    assert {adapter_number(name) for name in waiting} == {1, 2}
    assert len(waiting) == 2 * len(trains)
    attention = (
        backbone.layers[0].attn.c_attn
        if family == "gpt2"
        else backbone.layers[0].attention.self.query
    )
    x, expected = torch.randn(5, backbone.width), 0
    with torch_seed(0), torch.no_grad():
        for adapter in ("default", "stream1", "stream2"):
            attention.lora_B[adapter].weight.normal_()
            a, b = attention.lora_A[adapter].weight, attention.lora_B[adapter].weight
            expected = expected + 3 * x @ a.T @ b.T
    torch.testing.assert_close(
        attention(x) - attention.base_layer(x), expected, atol=1e-5, rtol=1e-5
    )


@families
def test_dora_trains_norms_apart_from_directions(family: str) -> None:
    backbone = _make("lora", family, rank=2, alpha=6, use_dora=True)
    dense = (
        backbone.layers[0].attn.c_attn
        if family == "gpt2"
        else backbone.layers[0].attention.self.query
    )
    weight = dense.base_layer.weight.T if family == "gpt2" else dense.base_layer.weight
    norms = dense.lora_magnitude_vector["default"].weight
    with torch_seed(0), torch.no_grad():
        dense.lora_B["default"].weight.normal_()
        norms.mul_(1.5)
        x = torch.randn(5, backbone.width)
    moved = weight + 3 * dense.lora_B["default"].weight @ dense.lora_A["default"].weight
    expected = x @ (moved * (norms / moved.norm(dim=1))[:, None]).T + dense.base_layer.bias
    torch.testing.assert_close(dense(x), expected, atol=1e-5, rtol=1e-5)


def test_dropout_of_lora_acts_in_training_only() -> None:
    backbone = _make("lora", "bert", dropout=0.5)
    _step(backbone, 2)
    assert torch.equal(_ask(backbone.eval()), _ask(backbone.eval()))
    assert not torch.equal(_ask(backbone.train()), _ask(backbone.eval()))
    still = _make("lora", "bert")
    _step(still, 2)
    assert torch.equal(_ask(still.train()), _ask(still.eval()))


@families
def test_factors_of_ia3_are_vectors_and_do_not_decay(family: str) -> None:
    backbone = _make("ia3", family)
    named = [
        (f"encoder.body.{name}", p) for name, p in backbone.named_parameters() if p.requires_grad
    ]
    (only,) = groups(named, 1.0, 1.0, weight_decay=0.5)
    assert only["weight_decay"] == 0
    assert len(only["params"]) == (2 if family == "gpt2" else 3) * LAYERS


def test_ia3_rescales_keys_values_and_inner_activations() -> None:
    backbone = _make("ia3", "bert")
    layer = backbone.layers[0]
    with torch.no_grad():
        for part, factor in (
            (layer.attention.self.key, 2),
            (layer.attention.self.value, 3),
            (layer.output.dense, 5),
        ):
            x = torch.ones(1, part.base_layer.in_features)
            before = part(x)
            part.ia3_l["default"].fill_(factor)
            inner = part is layer.output.dense
            expected = part.base_layer(x * factor) if inner else factor * before
            torch.testing.assert_close(part(x), expected)


# --- adapters ---------------------------------------------------------------------------------------------------------


@families
@pytest.mark.parametrize("variant", ["houlsby", "pfeiffer"])
def test_an_adapter_stands_behind_the_sublayers_last_matrix(family: str, variant: str) -> None:
    """One layer, by hand: attention, its adapter, sum and norm, feed-forward, its adapter, sum and
    norm."""
    backbone = _make("adapter", family, variant=variant, bottleneck=3, activation="tanh")
    with torch_seed(1), torch.no_grad():
        for p in backbone.parameters():
            if p.requires_grad:
                p.normal_(std=0.3)
        x = torch.randn(2, 5, backbone.width)
    layer, plain = backbone.layers[1], tiny(family=family, layers=LAYERS).layers[1]

    def through(place: nn.Module, h: Tensor) -> Tensor:
        return h + place.up(torch.tanh(place.down(h)))

    causal = family == "gpt2"
    first, second = (
        (layer.attn.c_proj, layer.mlp.c_proj)
        if causal
        else (layer.attention.output.dense, layer.output.dense)
    )
    if causal:
        h = plain.attn(plain.ln_1(x))[0]
        h = x + (through(first, h) if variant == "houlsby" else h)
        expected = h + through(second, plain.mlp(plain.ln_2(h)))
    else:
        h = plain.attention.output.dense(plain.attention.self(x)[0])
        h = plain.attention.output.LayerNorm(x + (through(first, h) if variant == "houlsby" else h))
        inner = plain.output.dense(plain.intermediate(h))
        expected = plain.output.LayerNorm(h + through(second, inner))
    torch.testing.assert_close(layer(x, attention_mask=None), expected, atol=1e-5, rtol=1e-5)


# --- prefixes and prompts ---------------------------------------------------------------------------------------------


@families
@pytest.mark.parametrize("projection", [None, 5])
def test_a_prefix_is_pefts_with_the_texts_own_positions(
    family: str, projection: int | None
) -> None:
    """The models' own forward, given the same keys and values; peft adds the prefix's length to the
    positions."""
    backbone = _make("prefix", family, length=4, projection=projection)
    with torch_seed(1), torch.no_grad():
        for p in backbone.parameters():
            if p.requires_grad:
                p.normal_()
    ids, mask = _texts()
    got = backbone.upper(backbone.lower(ids, mask), mask)
    base = tiny(family=family, layers=LAYERS)
    config = PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = get_peft_model(base.model, config).eval()
    own = [module for module in backbone.modules() if isinstance(module, Prefixed)]
    nothing = torch.zeros(1, 2, 0, 16)
    pairs = [module.before(nothing) for module in own]
    rows = [past[0].transpose(0, 1).flatten(1) for pair in pairs for past in pair]  # [P, D] each
    with torch.no_grad():
        theirs.prompt_encoder["default"].embedding.weight.copy_(torch.cat(rows, 1))
    positions = torch.arange(8)[None] + (1 if family == "roberta" else 0)
    hidden = theirs(
        input_ids=ids, attention_mask=mask.long(), position_ids=(positions - 4).expand(4, -1)
    )
    pooled = (hidden.last_hidden_state * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(got, pooled, atol=1e-5, rtol=0)
    assert not torch.allclose(got, base(ids, mask), atol=1e-2)


@families
@pytest.mark.parametrize("name", ["prefix", "prompt"])
def test_a_text_of_full_length_fits_behind_a_prefix_of_any_length(name: str, family: str) -> None:
    backbone = _make(name, family, length=40)
    ids = torch.full((1, backbone.max_tokens), 7)
    assert torch.isfinite(backbone(ids, torch.ones_like(ids, dtype=torch.bool))).all()


@pytest.mark.parametrize("projection", [None, 5])
def test_the_tokens_of_a_prefix_become_different(projection: int | None) -> None:
    backbone = _make("prefix", "bert", length=3, projection=projection)
    _step(backbone, 5)
    part = next(module for module in backbone.modules() if isinstance(module, Prefixed))
    nothing = torch.zeros(1, 2, 0, 16)
    for past in part.before(nothing):
        rows = past[0].transpose(0, 1).flatten(1).detach()
        assert torch.pdist(rows).min() > 1e-6


@families
@pytest.mark.parametrize("pooling", ["mean", "last", "cls"])
def test_a_prompt_enters_the_first_layer_and_is_left_out_of_the_vector(
    family: str, pooling: str
) -> None:
    backbone, plain = (
        _make("prompt", family, pooling, length=3),
        tiny(family=family, layers=LAYERS).model,
    )
    ids, mask = _texts()
    first = 1 if family == "roberta" else 0  # behind the padding's
    positions = torch.arange(8) + first
    if family == "gpt2":
        x = plain.wte(ids) + plain.wpe(positions)
    else:
        x = plain.embeddings(input_ids=ids, position_ids=positions[None])
    vectors = []
    for row in range(4):  # one text at a time, without any mask but GPT-2's causal one
        n = int(mask[row].sum())
        h = torch.cat([backbone.prompt.detach(), x[row, :n]])[None]
        causal = (
            torch.ones(n + 3, n + 3, dtype=torch.bool).tril()[None, None]
            if family == "gpt2"
            else None
        )
        for layer in plain.h if family == "gpt2" else plain.encoder.layer:
            h = layer(h, attention_mask=causal)
        h = (plain.ln_f(h) if family == "gpt2" else h)[0, 3:]
        vectors.append({"mean": h.mean(0), "last": h[-1], "cls": h[0]}[pooling])
    torch.testing.assert_close(backbone(ids, mask), torch.stack(vectors), atol=1e-5, rtol=0)


# --- AdaLoRA ----------------------------------------------------------------------------------------------------------


@families
def test_the_penalty_is_pefts(family: str) -> None:
    backbone = _make("adalora", family, rank=2, orthogonality=0.3)

    class WithLoss(nn.Module):
        """peft adds the penalty to the loss of a model that has one."""

        config = backbone.model.config

        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Linear(4, 4)

        def forward(self) -> Any:
            return type("Out", (), {"loss": torch.zeros(())})()

    config = AdaLoraConfig(
        init_r=3, target_r=2, target_modules=["query"], total_step=9, orth_reg_weight=0.3
    )
    theirs = AdaLoraModel(WithLoss(), config, "default")
    (a,) = (p for n, p in theirs.named_parameters() if "lora_A" in n)
    (b,) = (p for n, p in theirs.named_parameters() if "lora_B" in n)
    ours = Ranks(
        theirs.model, lambda *_: pytest.fail("no allocation"), first=0, last=0, orthogonality=0.3
    )
    with torch.no_grad():
        a.normal_()
        b.normal_()
    torch.testing.assert_close(ours.penalty(), theirs().loss)
    assert isinstance(backbone.ranks, Ranks)
    backbone.ranks.penalty().backward()
    assert {n for n, p in backbone.named_parameters() if p.grad is not None} == {
        n for n, _ in backbone.named_parameters() if "lora_A" in n or "lora_B" in n
    }


def test_orthogonal_vectors_pay_no_penalty() -> None:
    backbone = _make("adalora", "bert")
    for name, p in backbone.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            nn.init.orthogonal_(p)
    assert float(backbone.ranks.penalty().detach()) < 1e-5


# --- sizes by number of parameters ------------------------------------------------------------------------------------

SIZES = {
    "lora": "rank",
    "adalora": "rank",
    "adapter": "bottleneck",
    "prefix": "length",
    "prompt": "length",
}


def test_what_has_a_size_may_have_it_chosen() -> None:
    keys = {name: inspect.signature(getattr(strategy, name)).parameters for name in STRATEGIES}
    assert {name for name in STRATEGIES if "match_params" in keys[name]} == set(SIZES)


@families
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("lora", {}),
        ("lora", {"targets": "all", "use_dora": True, "layers": 2}),
        ("adalora", {"start": 1.3}),
        ("adapter", {"variant": "houlsby"}),
        ("adapter", {"layers": 1}),
        ("prefix", {"layers": 2}),
        ("prefix", {"projection": 7}),
        ("prompt", {}),
    ],
)
@pytest.mark.parametrize("wanted", [1, 700, 3000])
def test_the_chosen_size_comes_closest(
    name: str, family: str, keys: dict[str, Any], wanted: int
) -> None:
    backbone = _make(name, family, **keys, match_params=wanted)
    size = backbone.matched[SIZES[name]]
    assert backbone.matched["trained"] == _count(backbone)
    near = [
        _count(_make(name, family, **keys, **{SIZES[name]: n}))
        for n in (size - 1, size, size + 1)
        if n
    ]
    assert abs(_count(backbone) - wanted) == min(abs(n - wanted) for n in near)
    assert _make(name, family, **keys).matched == {}


def test_backbones_are_built_without_what_no_strategy_could_train() -> None:
    """An unused pooler would have no gradient, which neither several processes nor AdaLoRA's
    importance forgive."""
    model: PreTrainedModel = _make("full", "roberta").model
    assert not [name for name, _ in model.named_parameters() if "pooler" in name]
