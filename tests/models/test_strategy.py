"""The contract of every strategy on every family."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coldlm.models import strategy
from coldlm.models.backbone import Backbone, tiny
from coldlm.seeding import torch_seed

LAYERS = 3
DECLARED = {
    "frozen": lambda name: False,
    "top": lambda name: f".{LAYERS - 1}." in name or "ln_f" in name,
    "full": lambda name: True,
    "lora": lambda name: "lora_" in name,
}
"""Which parameters of a three-layer backbone each strategy trains, by name."""

families = pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
strategies = pytest.mark.parametrize("name", DECLARED)


def _make(name: str, family: str, **keys: object) -> Backbone:
    return getattr(strategy, name)(tiny(family=family, layers=LAYERS), **keys)


def _ask(backbone: Backbone) -> Tensor:
    ids = torch.arange(4, 36).view(4, 8)
    mask = torch.ones(4, 8, dtype=torch.bool)
    mask[1, 5:] = False
    return backbone(ids, mask)


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


@families
@strategies
def test_before_training_every_strategy_is_the_untouched_backbone(name: str, family: str) -> None:
    assert torch.equal(_ask(_make(name, family)), _ask(tiny(family=family, layers=LAYERS)))


@families
@strategies
def test_declared_parameters_move_and_all_others_keep_every_bit(name: str, family: str) -> None:
    backbone = _make(name, family)
    declared = {n for n, _ in backbone.named_parameters() if DECLARED[name](n)}
    assert {n for n, p in backbone.named_parameters() if p.requires_grad} == declared
    before = {n: p.detach().clone() for n, p in backbone.named_parameters()}
    if not declared:
        assert name == "frozen"
        assert not _ask(backbone).requires_grad
        return
    _step(backbone, 5)
    moved = {n for n, p in backbone.named_parameters() if not torch.equal(p, before[n])}
    # attention ignores what is added to all keys alike, so the gradient of a key's bias is 0 but for rounding
    assert declared - moved <= {n for n in declared if "key.bias" in n}
    assert moved <= declared
    assert all(p.grad is None for n, p in backbone.named_parameters() if n not in declared)


@families
@strategies
def test_all_that_trains_gets_a_gradient(name: str, family: str) -> None:
    backbone = _make(name, family)
    if name != "frozen":
        _ask(backbone).sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in backbone.parameters())


@strategies
def test_bert_and_roberta_of_one_shape_train_equally_many_parameters(name: str) -> None:
    bert, roberta = _make(name, "bert"), _make(name, "roberta")
    # one token type and equally many positions here, so even the embeddings are of one size
    assert _count(bert) == _count(roberta)
    assert (_count(bert) == 0) == (name == "frozen")


@families
@pytest.mark.parametrize("name", ["top", "lora"])
def test_more_layers_than_the_backbone_has_are_refused(name: str, family: str) -> None:
    with pytest.raises(ValueError, match=rf"strategy.layers=4, but backbone 'tiny_{family}' has 3 layers.*1 to 3"):
        _make(name, family, layers=4)


@families
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_layers_of_top_train_from_above_and_the_rest_is_constant(family: str, layers: int) -> None:
    backbone = _make("top", family, layers=layers)
    trained = {i for i, layer in enumerate(backbone.layers) if any(p.requires_grad for p in layer.parameters())}
    assert trained == set(range(LAYERS - layers, LAYERS))
    assert backbone.depth == LAYERS + 1 - layers


@families
@pytest.mark.parametrize("layers", [None, 1, 2])
def test_layers_of_lora_are_adapted_from_above_and_the_rest_is_constant(family: str, layers: int | None) -> None:
    backbone = _make("lora", family, layers=layers)
    adapted = {
        i for i, layer in enumerate(backbone.layers) if any("lora_A" in name for name, _ in layer.named_parameters())
    }
    assert adapted == set(range(LAYERS - (layers or LAYERS), LAYERS))
    assert backbone.depth == LAYERS + 1 - (layers or LAYERS)


def test_depth_says_what_is_constant() -> None:
    assert [_make(name, "bert").depth for name in ("frozen", "top", "lora", "full")] == [4, 3, 1, 0]


@families
def test_rank_sets_the_size_of_lora(family: str) -> None:
    assert _count(_make("lora", family, rank=4)) == 2 * _count(_make("lora", family, rank=2)) > 0


@families
def test_lora_adds_alpha_over_rank_times_b_a(family: str) -> None:
    """One adapted projection, by hand."""
    backbone = _make("lora", family, rank=2, alpha=6)
    attention = backbone.layers[0].attn.c_attn if family == "gpt2" else backbone.layers[0].attention.self.query
    a, b = attention.lora_A["default"].weight, attention.lora_B["default"].weight
    with torch_seed(0), torch.no_grad():
        b.normal_()
        x = torch.randn(5, backbone.width)
    expected = attention.base_layer(x) + 6 / 2 * x @ a.T @ b.T
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


def test_dropout_of_lora_acts_in_training_only() -> None:
    backbone = _make("lora", "bert", dropout=0.5)
    _step(backbone, 2)
    assert torch.equal(_ask(backbone.eval()), _ask(backbone.eval()))
    assert not torch.equal(_ask(backbone.train()), _ask(backbone.eval()))
    still = _make("lora", "bert")
    _step(still, 2)
    assert torch.equal(_ask(still.train()), _ask(still.eval()))
