"""The two-tower head, term by term. D = 5 input, W = 4, H = 3 history, F = 6 context features."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from coldlm.context import FEATURES
from coldlm.models.towers import Towers
from coldlm.seeding import torch_seed

D, W, H = 5, 4, 3
KNOWN = torch.tensor([[True, True, True], [True, False, False], [False, False, False], [False, False, False]])
HAS_TEXT = torch.tensor([False, True, True, False])


def _head(**keys: object) -> Towers:
    """A head with random parameters, as after some training: some of them are zero at the start."""
    with torch_seed(0):
        head = Towers(D, **{"width": W, "history": H, **keys})
        with torch.no_grad():
            for p in head.parameters():
                p.normal_()
    return head


def _inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Texts of 7 items [7, D], histories [4, H] of items, text vectors [4, W], features [F, 4, 7]."""
    with torch_seed(1):
        return torch.randn(7, D), torch.randint(7, (4, H)), torch.randn(4, W), torch.rand(len(FEATURES), 4, 7)


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


def _attend(head: Towers, elements: list[tuple[int, list[float]]]) -> list[float]:
    """exp(outer . tanh(inner x_h + place_h)) of each (place, element), not yet normalised."""
    if head.attention is None:
        return [1.0] * len(elements)
    inner, outer, place = head.attention.inner, head.attention.outer, head.attention.place.tolist()
    sums = [[a + p for a, p in zip(_linear(inner, x), place[h], strict=True)] for h, x in elements]
    return [math.exp(_linear(outer, [math.tanh(a) for a in row])[0]) for row in sums]


@torch.no_grad()
def _by_hand(head: Towers, user: int, item: int) -> float:
    """The score from the class's docstring, in plain Python."""
    vectors, history, text, features = _inputs()
    score = 0.0
    if head.uses_text:
        project = [_linear(head.project, (x - head.centre) / head.spread) for x in vectors]
        elements = [(h, project[i]) for h, i in enumerate(history[user].tolist()) if KNOWN[user, h]]
        elements += [(H, text[user].tolist())] if HAS_TEXT[user] else []
        weights = _attend(head, elements)
        pooled = head.unknown.tolist()
        if elements:
            sums = [sum(w * x[d] for w, (_, x) in zip(weights, elements, strict=True)) for d in range(W)]
            pooled = [x / sum(weights) for x in sums]
        prior = _linear(head.prior, project[item])[0]
        score += float(head.scale) / math.sqrt(W) * _dot(_linear(head.to_user, pooled), project[item]) + prior
    if head.uses_context:
        hidden = [max(0.0, x) for x in _linear(head.context.inner, features[:, user, item])]
        score += _linear(head.context.outer, hidden)[0]
    return score


@pytest.mark.parametrize("user", ["attention", "mean"])
@pytest.mark.parametrize("context", ["on", "off", "only"])
def test_the_score_is_the_formula(user: str, context: str) -> None:
    head = _head(user=user, context=context)
    if head.uses_text:
        head.standardise(_inputs()[0])
    expected = [[_by_hand(head, u, i) for i in range(7)] for u in range(4)]
    torch.testing.assert_close(_score(head), torch.tensor(expected), atol=1e-4, rtol=1e-4)


def test_a_user_of_whom_nothing_is_known_is_the_learned_vector() -> None:
    head = _head()
    nothing = torch.zeros(2, H, dtype=torch.bool)
    users = head.users(torch.ones(2, H, W), nothing, torch.ones(2, W), torch.tensor([False, False]))
    torch.testing.assert_close(users, head.to_user(head.unknown).expand(2, W))


def test_a_user_with_one_known_element_is_that_element() -> None:
    for user in ("attention", "mean"):
        head = _head(user=user)
        text = _inputs()[2]
        users = head.users(torch.full((4, H, W), 9.0), torch.zeros(4, H, dtype=torch.bool), text, HAS_TEXT)
        torch.testing.assert_close(users[1:3], head.to_user(text[1:3]))


def test_what_is_not_known_cannot_be_seen() -> None:
    head = _head()
    vectors, history, text, _ = _inputs()
    seen = head.items(vectors).vector[history]
    garbled = torch.where(KNOWN[:, :, None], seen, torch.tensor(1e3))
    garbled_text = torch.where(HAS_TEXT[:, None], text, torch.tensor(-1e3))
    one, two = head.users(seen, KNOWN, text, HAS_TEXT), head.users(garbled, KNOWN, garbled_text, HAS_TEXT)
    assert torch.equal(one, two)


def test_attention_weights_sum_to_one_where_something_is_known() -> None:
    head = _head()
    assert head.attention is not None
    vectors, history, text, _ = _inputs()
    elements = torch.cat([head.items(vectors).vector[history], text[:, None]], 1)
    known = torch.cat([KNOWN, HAS_TEXT[:, None]], 1)
    weights = head.attention(elements, known)
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    assert (weights[~known] == 0).all()
    assert (weights[known] > 0).all()


def test_the_order_of_a_history_matters_to_attention_and_not_to_the_mean() -> None:
    vectors, history, text, _ = _inputs()
    for user, matters in (("attention", True), ("mean", False)):
        head = _head(user=user)
        past = head.items(vectors).vector[history[:1]]
        args = (KNOWN[:1], text[:1], HAS_TEXT[:1])
        assert torch.allclose(head.users(past, *args), head.users(past.flip(1), *args), atol=1e-6) != matters


@pytest.mark.parametrize("user", ["attention", "mean"])
@pytest.mark.parametrize("context", ["on", "off", "only"])
def test_every_parameter_has_a_gradient(user: str, context: str) -> None:
    head = _head(user=user, context=context).train()
    _score(head).pow(2).sum().backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("context", ["on", "off", "only"])
def test_context_says_which_terms_there_are(context: str) -> None:
    head = _head(context=context)
    names = {name.split(".")[0] for name, _ in head.named_parameters()}
    assert ("project" in names, "context" in names) == (context != "only", context != "off")
    assert (head.uses_text, head.uses_context) == (context != "only", context != "off")


def test_context_is_added_to_the_text_score() -> None:
    both, text, only = _head(), _head(context="off"), _head(context="only")
    text.load_state_dict({n: p for n, p in both.state_dict().items() if not n.startswith("context")})
    only.load_state_dict({n: p for n, p in both.state_dict().items() if n.startswith("context")})
    torch.testing.assert_close(_score(both), _score(text) + _score(only))


def test_an_untrained_head_has_no_prior_and_maps_users_to_themselves() -> None:
    head = Towers(D, width=W, history=H)
    assert not head.items(_inputs()[0]).prior.any()
    assert torch.equal(head.to_user(torch.eye(W)), torch.eye(W))


def test_scoring_in_tiles_is_scoring_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    head = _head(context="only")
    whole = _score(head)
    monkeypatch.setattr("coldlm.models.towers.TILE", 5)
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


@pytest.mark.parametrize("key", [{"width": 8}, {"user": "mean"}, {"context": "off"}, {"context_width": 3}])
def test_each_key_changes_the_parameters(key: dict[str, object]) -> None:
    one, two = Towers(D, history=H, width=W), Towers(D, **{"history": H, "width": W, **key})
    assert {n: p.shape for n, p in one.named_parameters()} != {n: p.shape for n, p in two.named_parameters()}


def test_history_and_pseudo_query_are_carried_for_the_batches() -> None:
    head = Towers(D, history=7, pseudo_query=0.3)
    assert (head.history, head.pseudo_query) == (7, 0.3)
    assert head.attention is not None
    assert head.attention.place.shape[0] == 8


def test_dropout_acts_on_item_vectors_in_training_only() -> None:
    head = _head(dropout=0.5)
    with torch_seed(2):
        vectors = torch.randn(50, D)
        dropped = head.train().items(vectors).vector == 0
    assert 0.3 < float(dropped.float().mean()) < 0.7
    assert torch.equal(head.eval().items(vectors).vector, head.project((vectors - head.centre) / head.spread))
