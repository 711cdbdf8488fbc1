"""The two-tower head, term by term. D = 5 input, W = 4, H = 3 history, F = 6 context features."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from coldlm.asof.context import FEATURES, SCALE
from coldlm.core.seeding import torch_seed
from coldlm.models.parts.users import Attention, Mean, Transformer
from coldlm.models.towers import Towers
from coldlm.text.constant import FixedEncoder

D, W, H = 5, 4, 3
KNOWN = torch.tensor(
    [[True, True, True], [True, False, False], [False, False, False], [False, False, False]]
)
HAS_TEXT = torch.tensor([False, True, True, False])
USERS = ("attention", "mean", "transformer")


def _head(**keys: object) -> Towers:
    """A head with random parameters, as after some training: some of them are zero at the start."""
    with torch_seed(0):
        head = Towers(D, **{"width": W, "history": H, **keys})
        with torch.no_grad():
            for p in head.parameters():
                p.normal_()
    return head


class Parts:
    """Three old items and four new ones, whose texts are ``vectors``."""

    def __init__(self, vectors: Tensor) -> None:
        self._vectors = vectors

    def vectors(self) -> FixedEncoder:
        return FixedEncoder(self._vectors, lambda texts: self._vectors[: len(texts)])

    def is_new(self) -> Tensor:
        return torch.arange(7) >= 3


def test_a_learned_vector_is_added_to_a_text_on_its_scale() -> None:
    vectors = _inputs()[0]
    with torch_seed(0):
        head = Towers(D, width=W, history=H, delta=0.5)
    ranker = head.assemble(Parts(vectors))
    head.standardise(vectors)
    codes = torch.tensor([6, 0, 2])
    plain = head.items(vectors[codes])
    # nothing is learned yet: to the bit what texts say
    assert torch.equal(ranker.side(vectors[codes], codes).vector, plain.vector)
    assert head.deltas is not None
    with torch.no_grad():
        head.deltas.new.normal_(std=100.0)
    moved = ranker.side(vectors[codes], codes)
    assert torch.equal(moved.vector[1:], plain.vector[1:])
    beside = head.beside(codes)
    assert beside is not None
    # of a typical text, whose standardised vector is sqrt(D) long, half the length
    assert float((beside[0] / head.spread).detach().norm()) == pytest.approx(0.5 * D**0.5)
    torch.testing.assert_close(moved.vector, head.items(vectors[codes] + beside).vector)


def test_without_room_for_them_there_are_no_learned_vectors() -> None:
    for keys in ({"delta": 0.0}, {"delta": 0.5, "context": "only"}):
        head = Towers(D, width=W, history=H, **keys)
        head.assemble(Parts(_inputs()[0]))
        assert not any("deltas" in name for name, _ in head.named_parameters())


def _inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Texts of 7 items [7, D], histories [4, H] of items, text vectors [4, W], features [F, 4,
    7]."""
    with torch_seed(1):
        return (
            torch.randn(7, D),
            torch.randint(7, (4, H)),
            torch.randn(4, W),
            torch.rand(len(FEATURES), 4, 7),
        )


def _score(head: Towers) -> Tensor:
    vectors, history, text, features = _inputs()
    if not head.uses_text:
        return head.score(None, None, features)
    side = head.items(vectors)
    users = head.users(side.vector[history], KNOWN, text, HAS_TEXT)
    return head.score(users, side, features if head.uses_context else None)


def _dot(a: Tensor, b: Tensor) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def _linear(layer: torch.nn.Linear, x: list[float] | Tensor) -> list[float]:
    bias = layer.bias if layer.bias is not None else [0.0] * len(layer.weight)
    return [_dot(row, x) + float(b) for row, b in zip(layer.weight, bias, strict=True)]


Elements = list[tuple[int, list[float]]]


def _average(weights: list[float], elements: Elements) -> list[float]:
    return [
        sum(w * x[d] for w, (_, x) in zip(weights, elements, strict=True)) / sum(weights)
        for d in range(W)
    ]


def _normed(norm: torch.nn.LayerNorm, x: list[float]) -> list[float]:
    mean = sum(x) / W
    spread = math.sqrt(sum((a - mean) ** 2 for a in x) / W + norm.eps)
    return [
        (a - mean) / spread * float(g) + float(b)
        for a, g, b in zip(x, norm.weight, norm.bias, strict=True)
    ]


def _transform(join: Transformer, elements: Elements) -> list[float]:
    """The last state of the known (place, element), which are oldest first, in plain Python."""
    states = [[a + p for a, p in zip(x, join.place[h].tolist(), strict=True)] for h, x in elements]
    for layer in join.layers:
        parts = [_linear(layer.attend, _normed(layer.before_attention, x)) for x in states]
        moved = []
        for s, x in enumerate(states):
            read: list[float] = []
            for begin in range(0, W, W // layer.heads):
                mine = range(begin, begin + W // layer.heads)
                match = [
                    sum(parts[s][d] * parts[r][W + d] for d in mine) / math.sqrt(len(mine))
                    for r in range(s + 1)
                ]
                weights = [math.exp(m) for m in match]
                read += [
                    sum(w * parts[r][2 * W + d] for r, w in enumerate(weights)) / sum(weights)
                    for d in mine
                ]
            x = [a + b for a, b in zip(x, _linear(layer.joined, read), strict=True)]
            hidden = [max(0.0, a) for a in _linear(layer.inner, _normed(layer.before_network, x))]
            moved.append([a + b for a, b in zip(x, _linear(layer.outer, hidden), strict=True)])
        states = moved
    return states[-1]


def _join(head: Towers, elements: Elements) -> list[float]:
    """What the known (place, element) say together; history comes newest first, the text last."""
    if isinstance(head.join, Transformer):
        return _transform(head.join, elements[::-1])
    if isinstance(head.join, Mean):
        return _average([1.0] * len(elements), elements)
    assert isinstance(head.join, Attention)
    inner, outer, place = head.join.inner, head.join.outer, head.join.place.tolist()
    sums = [[a + p for a, p in zip(_linear(inner, x), place[h], strict=True)] for h, x in elements]
    return _average(
        [math.exp(_linear(outer, [math.tanh(a) for a in row])[0]) for row in sums], elements
    )


def _hidden_layer(network: torch.nn.Module, x: list[float]) -> float:
    return _linear(network.outer, [max(0.0, a) for a in _linear(network.inner, x)])[0]  # type: ignore[arg-type]


@torch.no_grad()
def _by_hand(head: Towers, user: int, item: int) -> float:
    """The score from the class's docstring, in plain Python."""
    vectors, history, text, features = _inputs()
    score = 0.0
    if head.uses_text:
        project = [_linear(head.project, (x - head.centre) / head.spread) for x in vectors]
        elements = [(h, project[i]) for h, i in enumerate(history[user].tolist()) if KNOWN[user, h]]
        elements += [(H, text[user].tolist())] if HAS_TEXT[user] else []
        joined = _join(head, elements) if elements else head.unknown.tolist()
        prior = _linear(head.prior, project[item])[0]
        score += (
            float(head.scale) / math.sqrt(W) * _dot(_linear(head.to_user, joined), project[item])
            + prior
        )
    if head.uses_context:
        planes = features[:, user, item].tolist()
        context = _hidden_layer(head.fusion.context, planes)
        if head.fusion.gate is None:
            return score + context
        count = math.log(1 + int(KNOWN[user].sum())) / SCALE
        gate = 1 / (1 + math.exp(-_hidden_layer(head.fusion.gate, [*planes, count])))
        return 2 * gate * score + 2 * (1 - gate) * context
    return score


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    ("context", "fusion"), [("on", "add"), ("on", "gate"), ("off", "add"), ("only", "gate")]
)
def test_the_score_is_the_formula(user: str, context: str, fusion: str) -> None:
    head = _head(user=user, user_layers=2, context=context, fusion=fusion)
    if head.uses_text:
        head.standardise(_inputs()[0])
    expected = [[_by_hand(head, u, i) for i in range(7)] for u in range(4)]
    torch.testing.assert_close(_score(head), torch.tensor(expected), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("user", USERS)
def test_a_user_of_whom_nothing_is_known_is_the_learned_vector(user: str) -> None:
    head = _head(user=user)
    nothing = torch.zeros(2, H, dtype=torch.bool)
    users = head.users(torch.ones(2, H, W), nothing, torch.ones(2, W), torch.tensor([False, False]))
    torch.testing.assert_close(users.vector, head.to_user(head.unknown).expand(2, W))
    assert users.count.tolist() == [0, 0]


def test_a_user_with_one_known_element_is_that_element() -> None:
    for user in ("attention", "mean"):
        head = _head(user=user)
        text = _inputs()[2]
        users = head.users(
            torch.full((4, H, W), 9.0), torch.zeros(4, H, dtype=torch.bool), text, HAS_TEXT
        )
        torch.testing.assert_close(users.vector[1:3], head.to_user(text[1:3]))


@pytest.mark.parametrize("user", USERS)
def test_what_is_not_known_cannot_be_seen(user: str) -> None:
    head = _head(user=user)
    vectors, history, text, _ = _inputs()
    seen = head.items(vectors).vector[history]
    garbled = torch.where(KNOWN[:, :, None], seen, torch.tensor(1e3))
    garbled_text = torch.where(HAS_TEXT[:, None], text, torch.tensor(-1e3))
    one, two = (
        head.users(seen, KNOWN, text, HAS_TEXT),
        head.users(garbled, KNOWN, garbled_text, HAS_TEXT),
    )
    assert torch.equal(one.vector, two.vector)


def test_attention_weights_sum_to_one_where_something_is_known() -> None:
    head = _head()
    assert isinstance(head.join, Attention)
    vectors, history, text, _ = _inputs()
    elements = torch.cat([head.items(vectors).vector[history], text[:, None]], 1)
    known = torch.cat([KNOWN, HAS_TEXT[:, None]], 1)
    weights = head.join.weights(elements, known)
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    assert (weights[~known] == 0).all()
    assert (weights[known] > 0).all()


def test_the_order_of_a_history_matters_to_all_but_the_mean() -> None:
    vectors, history, text, _ = _inputs()
    for user, matters in (("attention", True), ("mean", False), ("transformer", True)):
        head = _head(user=user)
        past = head.items(vectors).vector[history[:1]]
        args = (KNOWN[:1], text[:1], HAS_TEXT[:1])
        assert (
            torch.allclose(
                head.users(past, *args).vector, head.users(past.flip(1), *args).vector, atol=1e-6
            )
            != matters
        )


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("context", ["on", "off", "only"])
def test_every_parameter_has_a_gradient(user: str, context: str) -> None:
    head = _head(user=user, context=context, fusion="gate").train()
    _score(head).pow(2).sum().backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("context", ["on", "off", "only"])
def test_context_says_which_terms_there_are(context: str) -> None:
    head = _head(context=context)
    names = {name.removeprefix("fusion.").split(".")[0] for name, _ in head.named_parameters()}
    assert ("project" in names, "context" in names) == (context != "only", context != "off")
    assert (head.uses_text, head.uses_context) == (context != "only", context != "off")


def test_context_is_added_to_the_text_score() -> None:
    both, text, only = _head(), _head(context="off"), _head(context="only")
    text.load_state_dict({n: p for n, p in both.state_dict().items() if not n.startswith("fusion")})
    only.load_state_dict({n: p for n, p in both.state_dict().items() if n.startswith("fusion")})
    torch.testing.assert_close(_score(both), _score(text) + _score(only))


def test_an_untrained_gate_is_the_sum() -> None:
    with torch_seed(0):
        gated = Towers(D, width=W, history=H, fusion="gate")
    added = Towers(D, width=W, history=H)
    added.load_state_dict({n: p for n, p in gated.state_dict().items() if "gate" not in n})
    assert torch.equal(_score(gated), _score(added))


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["add", "gate"])
@pytest.mark.parametrize("context", ["on", "off", "only"])
def test_levels_are_the_parameters_that_add_one_number_to_every_score(
    context: Any, fusion: Any
) -> None:
    head = _head(context=context, fusion=fusion)
    before, levels = _score(head), {id(level) for level in head.levels}
    named = {
        name: p
        for name, p in head.named_parameters()
        if name in ("prior.bias", "fusion.context.outer.bias")
    }
    for parameter in named.values():
        parameter.add_(1.0)
        is_level = bool(((_score(head) - before - 1).abs() < 1e-5).all())
        assert is_level == (id(parameter) in levels) == (fusion == "add" or context != "on")
        parameter.sub_(1.0)
    assert levels <= {id(parameter) for parameter in named.values()}


@torch.no_grad()
@pytest.mark.parametrize(("bias", "left"), [(-50.0, "context"), (50.0, "text")])
def test_a_gate_that_is_open_or_shut_leaves_twice_one_score(bias: float, left: str) -> None:
    gated, one = _head(fusion="gate"), _head(context="off" if left == "text" else "only")
    gated.fusion.gate.outer.weight.zero_()  # type: ignore[union-attr]
    gated.fusion.gate.outer.bias.fill_(bias)  # type: ignore[union-attr]
    one.load_state_dict({n: p for n, p in gated.state_dict().items() if n in one.state_dict()})
    torch.testing.assert_close(_score(gated), 2 * _score(one))


@torch.no_grad()
def test_the_gate_tells_users_and_items_apart_by_their_counts() -> None:
    head = _head(fusion="gate")
    side, features = head.items(torch.zeros(2, D)), torch.zeros(len(FEATURES), 2, 2)
    features[FEATURES.index("count"), :, 1] = 1.0
    users = head.users(
        torch.ones(2, H, W), KNOWN[:2], torch.ones(2, W), torch.tensor([False, False])
    )
    assert users.count.tolist() == [3, 1]
    same = replace(users, vector=users.vector[:1].expand(2, W))
    assert len(set(head.score(same, side, features).flatten().tolist())) == 4


def test_an_untrained_transformer_is_the_newest_element() -> None:
    vectors, history, text, _ = _inputs()
    head = Towers(D, width=W, history=H, user="transformer", user_layers=2)
    past = head.items(vectors).vector[history]
    expected = torch.stack([past[0, 0], past[1, 0], text[2], head.unknown])
    torch.testing.assert_close(head.users(past, KNOWN, text, HAS_TEXT).vector, expected)


def test_a_batch_without_a_user_is_no_error() -> None:
    for user in USERS:
        head = _head(user=user)
        nobody = (
            torch.zeros(0, H, dtype=torch.bool),
            torch.zeros(0, W),
            torch.zeros(0, dtype=torch.bool),
        )
        assert head.users(torch.zeros(0, H, W), *nobody).vector.shape == (0, W)


def test_an_untrained_head_has_no_prior_and_maps_users_to_themselves() -> None:
    head = Towers(D, width=W, history=H)
    assert not head.items(_inputs()[0]).prior.any()
    assert torch.equal(head.to_user(torch.eye(W)), torch.eye(W))


def test_scoring_in_tiles_is_scoring_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    head = _head(context="only")
    whole = _score(head)
    monkeypatch.setattr("coldlm.models.parts.fusion.TILE", 5)
    with torch.no_grad():
        torch.testing.assert_close(_score(head), whole)


def test_standardised_inputs_have_zero_mean_and_unit_spread() -> None:
    head = _head()
    with torch_seed(2):
        vectors = 3 + torch.randn(200, D) * torch.tensor([1.0, 2.0, 0.5, 1.0, 4.0])
    head.standardise(vectors)
    inputs = (vectors - head.centre) / head.spread
    torch.testing.assert_close(inputs.mean(0), torch.zeros(D), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(0, correction=0), torch.ones(D))


def test_a_dead_dimension_is_not_blown_up() -> None:
    head = _head()
    with torch_seed(2):
        vectors = torch.randn(50, D)
    vectors[:, 2] = 7.0
    head.standardise(vectors)
    moved = vectors.clone()
    moved[:, 2] += 0.01
    assert ((moved - head.centre) / head.spread).abs().max() < 10
    head.standardise(torch.ones(3, D))  # all dead
    assert torch.isfinite(head.items(torch.ones(3, D)).vector).all()


def test_centre_and_spread_travel_with_the_state() -> None:
    one, two = _head(), _head()
    one.standardise(_inputs()[0])
    two.load_state_dict(one.state_dict())
    assert torch.equal(two.centre, one.centre)
    assert torch.equal(two.spread, one.spread)


@pytest.mark.parametrize(
    "key",
    [
        {"width": 8},
        {"user": "mean"},
        {"user": "transformer"},
        {"user": "transformer", "user_layers": 2},
        {"context": "off"},
        {"fusion": "gate"},
        {"context_width": 3},
    ],
)
def test_each_key_changes_the_parameters(key: dict[str, object]) -> None:
    one, two = Towers(D, history=H, width=W), Towers(D, **{"history": H, "width": W, **key})
    assert {n: p.shape for n, p in one.named_parameters()} != {
        n: p.shape for n, p in two.named_parameters()
    }


def test_history_and_pseudo_query_are_carried_for_the_batches() -> None:
    head = Towers(D, history=7, pseudo_query=0.3)
    assert (head.history, head.pseudo_query) == (7, 0.3)
    assert isinstance(head.join, Attention)
    assert head.join.place.shape[0] == 8


def test_dropout_acts_on_item_vectors_in_training_only() -> None:
    head = _head(dropout=0.5)
    with torch_seed(2):
        vectors = torch.randn(50, D)
        dropped = head.train().items(vectors).vector == 0
    assert 0.3 < float(dropped.float().mean()) < 0.7
    assert torch.equal(
        head.eval().items(vectors).vector, head.project((vectors - head.centre) / head.spread)
    )


@pytest.mark.parametrize("fusion", ["add", "gate"])
def test_context_is_hidden_from_training_as_if_nobody_had_had_the_item(fusion: str) -> None:
    head = _head(fusion=fusion, context_dropout=1.0)
    whole, (vectors, history, text, features) = _score(head.eval()), _inputs()
    side = head.items(vectors)
    users = head.users(side.vector[history], KNOWN, text, HAS_TEXT)
    features = torch.zeros_like(features)
    features[FEATURES.index("is_new")] = 1
    as_new = head.score(users, side, features)
    assert torch.equal(_score(head.train()), as_new)
    assert not torch.isclose(whole, as_new).any()
    halves = _head(fusion=fusion, context_dropout=0.5).train()
    with torch_seed(3):
        hidden = torch.stack([_score(halves) == as_new for _ in range(40)])
    assert 0.4 < float(hidden.float().mean()) < 0.6
    mixed = hidden.any(2) & ~hidden.all(2)  # each pair by itself
    assert float(mixed.float().mean()) > 0.9


def test_without_dropout_training_is_to_the_bit_what_it_was() -> None:
    head = _head()
    scores = _score(head.eval())
    with torch_seed(3):
        before = torch.get_rng_state()
        assert torch.equal(_score(head.train()), scores)
        assert torch.equal(torch.get_rng_state(), before)
    only = _head(context="only", context_dropout=1.0)  # the control has nothing else to learn from
    assert torch.equal(_score(only.train()), _score(only.eval()))
