"""Each text is encoded once, and that changes no number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import normalizers
from torch import Tensor

from coldlm.core.seeding import torch_seed
from coldlm.models import strategy
from coldlm.models.backbone import RandomVectors, tiny
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.text import encode
from coldlm.text.constant import RandomEncoder
from coldlm.text.encode import TextEncoder

TEXTS = (
    "space adventure",
    "",
    "大海",
    "a",
    "the sea, the sea",
    "🚀 moon",
    "b",
    "space adventure",
    "x" * 90,
    "moon",
)
ORDER = np.array([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
STRATEGIES = {
    "frozen": strategy.frozen,
    "full": strategy.full,
    "top": strategy.top,
    "lora": strategy.lora,
    "prefix": lambda body: strategy.prefix(body, layers=1),
    "prompt": strategy.prompt,
}

strategies = pytest.mark.parametrize("name", STRATEGIES)


@pytest.fixture(autouse=True)
def _nothing_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "READ", {})


families = pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])


def _body(name: str, family: str = "bert", **keys: object) -> Backbone:
    with torch_seed(0):  # what a prefix and a prompt begin with is drawn
        return STRATEGIES[name](tiny(**{"family": family, "max_tokens": 32, **keys}))


def _alone(body: Backbone, text: str) -> Tensor:
    """[D] by the backbone itself: one text, no padding, no cache."""
    ids = body.tokenizer(text)["input_ids"]
    if body.causal:
        ids = [*ids[: body.max_tokens - 1], body.tokenizer.eos_token_id]
    elif len(ids) > body.max_tokens:
        ids = [*ids[: body.max_tokens - 1], ids[-1]]
    return body(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))[0]


def _counted(monkeypatch: pytest.MonkeyPatch, body: Backbone, method: str) -> list[int]:
    """Rows of every later call of ``body.method``."""
    rows: list[int] = []
    original: Callable[..., Tensor] = getattr(body, method)

    def call(x: Tensor, *rest: object) -> Tensor:
        rows.append(len(x))
        return original(x, *rest)

    monkeypatch.setattr(body, method, call)
    return rows


@families
@strategies
@pytest.mark.parametrize("training", [False, True])
def test_every_item_gets_the_vector_of_its_text_alone(
    name: str, family: str, training: bool
) -> None:
    body = _body(name, family)
    for part in body.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    encoder = TextEncoder(body, TEXTS, ORDER).train(training)
    expected = torch.stack([_alone(body, text) for text in TEXTS])
    codes = torch.tensor([8, 0, 7, 2, 2, 1])
    torch.testing.assert_close(encoder.items(codes), expected[codes], atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.all_items(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.texts(TEXTS), expected, atol=1e-5, rtol=0)


@strategies
def test_gradients_reach_the_backbone_unless_it_is_frozen(name: str) -> None:
    encoder = TextEncoder(_body(name), TEXTS, ORDER)
    assert encoder.items(torch.tensor([0, 1])).requires_grad == (name != "frozen")
    assert encoder.texts(["a query"]).requires_grad == (name != "frozen")
    assert not encoder.all_items().requires_grad


def test_prefixes_stand_in_front_of_items_and_queries() -> None:
    body = _body("frozen")
    body.item_prefix, body.query_prefix = "passage: ", "query: "
    encoder = TextEncoder(body, ["moon"], np.array([0]))
    for got, text in (
        (encoder.all_items(), "passage: moon"),
        (encoder.texts(["moon"]), "query: moon"),
    ):
        torch.testing.assert_close(got[0], _alone(body, text), atol=1e-5, rtol=0)


@families
@strategies
def test_later_items_and_their_texts_cannot_change_a_bit_of_earlier_ones(
    name: str, family: str
) -> None:
    texts = [chr(97 + i % 26) * (4 + i % 3) for i in range(60)]
    scrambled = [*texts[:60], *(text[:-1] for text in texts), *("garbage" * 3 for _ in texts)]
    longer = [*texts, *texts, *texts]  # fills up the blocks of the first 60
    few = TextEncoder(_body(name, family), texts, np.arange(60)).eval().all_items()
    for later in (scrambled, longer):
        many = TextEncoder(_body(name, family), later, np.arange(180)).eval().all_items()
        assert torch.equal(many[:60], few)


@strategies
def test_items_that_come_later_get_their_vectors_and_leave_the_others_theirs(name: str) -> None:
    """Within rounding those of an encoder that had them from the start; the body is the same one."""
    body = _body(name)
    few = TextEncoder(body, TEXTS[:7], np.arange(7)).eval()
    before = few.all_items()
    grown = few.grown(TEXTS[7:9], np.arange(9)).grown(TEXTS[9:], ORDER).eval()
    whole = TextEncoder(body, TEXTS, ORDER).eval().all_items()
    torch.testing.assert_close(grown.all_items(), whole, atol=1e-5, rtol=0)
    assert grown.body is body
    assert torch.equal(few.all_items(), before)
    torch.testing.assert_close(grown.texts(["moon"]), few.texts(["moon"]))


def test_the_order_of_entry_not_the_code_decides_what_comes_later() -> None:
    texts = ["abcd", *(f"word{i}" for i in range(9))]
    order = np.array([*range(1, 10), 0])  # item 0 enters last
    one = TextEncoder(_body("frozen"), texts, order).eval().all_items()
    two = TextEncoder(_body("frozen"), ["something else", *texts[1:]], order).eval().all_items()
    assert torch.equal(one[1:], two[1:])
    assert not torch.allclose(one[0], two[0])


@strategies
def test_a_cache_hit_computes_nothing_and_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    without = TextEncoder(_body(name), TEXTS, ORDER).eval().all_items()
    blocks: list[int] = []
    first = TextEncoder(_body(name), TEXTS, ORDER, cache=tmp_path, on_block=blocks.append)
    assert sum(blocks) == (0 if name == "full" else len(TEXTS))
    blocks.clear()
    second = TextEncoder(_body(name), TEXTS, ORDER, cache=tmp_path, on_block=blocks.append)
    assert blocks == []
    assert torch.equal(first.eval().all_items(), without)
    assert torch.equal(second.eval().all_items(), without)
    assert len(list(tmp_path.rglob("*.safetensors"))) == (0 if name == "full" else 1)
    assert list(tmp_path.rglob("*.part")) == []


def _other_tokenizer(body: Backbone) -> Backbone:
    body.tokenizer.backend_tokenizer.normalizer = normalizers.Replace("s", "z")
    return body


def test_whatever_changes_vectors_is_another_cache_entry(tmp_path: Path) -> None:
    def entries() -> int:
        return len(list(tmp_path.rglob("*.safetensors")))

    TextEncoder(_body("top"), TEXTS, ORDER, cache=tmp_path)
    for n, (body, texts, order) in enumerate(
        [
            (_body("top"), ("changed", *TEXTS[1:]), ORDER),
            (_body("top"), TEXTS, ORDER[::-1].copy()),
            (_body("top", seed=1), TEXTS, ORDER),
            (_body("lora"), TEXTS, ORDER),
            (_body("frozen"), TEXTS, ORDER),
            (_body("frozen", pooling="cls"), TEXTS, ORDER),
            (_body("frozen", max_tokens=16), TEXTS, ORDER),
            (_other_tokenizer(_body("frozen")), TEXTS, ORDER),
        ],
        start=2,
    ):
        TextEncoder(body, texts, order, cache=tmp_path)
        assert entries() == n


@families
def test_words_are_looked_up_once_a_batch_with_the_same_gradient(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gradients(body: Backbone, looked_up: list[int]) -> dict[str, Tensor]:
        for part in body.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        table = body.model.get_input_embeddings()
        table.register_forward_hook(lambda _, given, __: looked_up.append(given[0].numel()))
        encoder = TextEncoder(body, TEXTS, ORDER).train()
        vectors = encoder.items(torch.arange(len(TEXTS)))
        (vectors * torch.arange(vectors.numel()).view(vectors.shape)).sum().backward()
        return {n: p.grad for n, p in body.named_parameters() if p.grad is not None}

    once, each = list[int](), list[int]()
    at_once = gradients(_body("full", family), once)
    monkeypatch.setattr(Backbone, "words", lambda self, blocks: blocks)
    apart = gradients(_body("full", family), each)
    assert len(once) == 1 < len(each)
    assert sum(once) == sum(each)
    assert at_once.keys() == apart.keys()
    for name, gradient in apart.items():
        torch.testing.assert_close(at_once[name], gradient, rtol=1e-5, atol=1e-4, msg=name)


@families
def test_a_deeper_stage_is_computed_from_a_cached_one(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TextEncoder(_body("lora", family), TEXTS, ORDER, cache=tmp_path)
    body = _body("frozen", family)
    monkeypatch.setattr(body, "_embed", lambda ids: pytest.fail("the embeddings are in the cache"))
    got = TextEncoder(body, TEXTS, ORDER, cache=tmp_path).all_items()
    assert torch.equal(got, TextEncoder(_body("frozen", family), TEXTS, ORDER).all_items())


def test_a_frozen_body_reads_each_text_once(monkeypatch: pytest.MonkeyPatch) -> None:
    body = _body("frozen")
    encoder = TextEncoder(body, TEXTS, ORDER)
    calls = _counted(monkeypatch, body, "lower")
    first = encoder.texts(["moon", "sea", "moon"])
    n = len(calls)
    assert n > 0
    assert torch.equal(encoder.texts(["sea", "moon"]), first[[1, 0]])
    assert len(calls) == n
    encoder.texts(["sea", "star"])
    assert len(calls) > n


def test_what_one_encoder_has_read_another_of_the_same_depth_and_prefix_need_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = ["moon", "sea", "大海"]
    alone = {name: TextEncoder(_body(name), TEXTS, ORDER).texts(asked) for name in ("top", "lora")}
    n = len(encode.READ)
    assert n == 2 * len(asked)  # lora trains both layers, top one
    for name in ("top", "lora"):
        body = _body(name)
        calls = _counted(monkeypatch, body, "lower")
        encoder = TextEncoder(body, TEXTS, ORDER)
        calls.clear()
        assert torch.equal(encoder.texts(asked[::-1]), alone[name].flip(0))
        assert (calls, len(encode.READ)) == ([], n)
    for other in (_body("top", seed=1), _body("top", pooling="cls"), _body("frozen")):
        TextEncoder(other, TEXTS, ORDER).texts(asked)
        n += len(asked)
        assert len(encode.READ) == n
    body = _body("top")
    body.query_prefix = "query: "
    TextEncoder(body, TEXTS, ORDER).texts(asked)
    assert len(encode.READ) == n + len(asked)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["top", "lora", "prefix"])
def test_what_is_constant_of_free_texts_is_computed_once(
    name: str, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = _body(name)
    encoder = TextEncoder(body, TEXTS, ORDER).train(training)
    lower, upper = _counted(monkeypatch, body, "lower"), _counted(monkeypatch, body, "upper")
    first = encoder.texts(["moon", "sea", "moon"])
    n, steps = len(lower), len(upper)
    assert torch.equal(encoder.texts(["moon", "sea", "moon"]), first) or training
    assert (len(lower), len(upper)) == (n, 2 * steps)
    encoder.texts(["sea", "star"])
    assert len(lower) > n


def test_what_is_kept_of_free_texts_has_a_limit_and_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = _body("top")
    encoder = TextEncoder(body, TEXTS, ORDER).eval()
    texts = [f"text {i}" for i in range(30)]
    one = encoder.texts(texts)
    size = encoder._free["text 0"].nbytes
    monkeypatch.setattr(encode, "FREE_BYTES", 5 * size)
    monkeypatch.setattr(encode, "READ", {})
    few = TextEncoder(body, TEXTS, ORDER).eval()
    for _ in range(2):
        assert torch.equal(few.texts(texts), one)
        for parts in (few._free, encode.READ):
            assert 0 < sum(part.nbytes for part in parts.values()) <= 5 * size
    lower = _counted(monkeypatch, body, "lower")
    assert torch.equal(few.texts(texts[:1]), one[:1])
    assert lower


def test_a_training_body_reads_texts_anew() -> None:
    body = _body("top")
    encoder = TextEncoder(body, TEXTS, ORDER).eval()
    before = encoder.texts(["moon"]).detach()
    with torch.no_grad():
        for p in body.layers[-1].parameters():
            p += 0.1 * torch.ones_like(p)
    assert not torch.allclose(encoder.texts(["moon"]), before)


def test_lower_stages_are_left_out_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    body = _body("top")
    encoder = TextEncoder(body, TEXTS, ORDER)
    lower, upper = _counted(monkeypatch, body, "lower"), _counted(monkeypatch, body, "upper")
    encoder.train().items(torch.arange(10))
    assert lower == []
    assert sum(upper) == 10


def test_training_blocks_hold_texts_of_one_length(monkeypatch: pytest.MonkeyPatch) -> None:
    body = _body("full")
    encoder = TextEncoder(body, TEXTS, ORDER).train()
    masks: list[Tensor] = []
    original = body.upper
    monkeypatch.setattr(body, "upper", lambda x, mask: masks.append(mask) or original(x, mask))
    encoder.items(torch.arange(10))
    assert all(mask.all() for mask in masks)


def test_eval_blocks_have_a_fixed_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    body = _body("top")
    encoder = TextEncoder(body, TEXTS, ORDER).eval()
    rows = _counted(monkeypatch, body, "upper")
    encoder.items(torch.tensor([3]))  # "a" with its two special tokens is padded to 4
    assert rows == [encode.EVAL_TOKENS // 4]


def test_random_vectors_are_fixed_unit_vectors_that_know_no_language() -> None:
    encoder = RandomEncoder(6, RandomVectors(64, 0))
    vectors = encoder.all_items()
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(6))
    assert torch.equal(encoder.items(torch.tensor([4, 1])), vectors[[4, 1]])
    assert ((vectors @ vectors.T - torch.eye(6)).abs() < 0.5).all()
    texts = encoder.texts(["the sea", "the sea!", "the sea"])
    assert torch.equal(texts[0], texts[2])
    assert float(texts[0] @ texts[1]) < 0.5
    assert list(encoder.parameters()) == []
    assert list(encoder.state_dict()) == []


def test_random_vectors_depend_on_the_seed_and_not_on_the_number_of_items() -> None:
    one = RandomEncoder(4, RandomVectors(8, 0)).all_items()
    assert torch.equal(one, RandomEncoder(9, RandomVectors(8, 0)).all_items()[:4])
    assert not torch.allclose(one, RandomEncoder(4, RandomVectors(8, 1)).all_items())


@strategies
def test_permuted_texts_give_each_item_the_vector_of_the_text_it_reads(name: str) -> None:
    row = np.array([1, 0, 3, 2, 5, 4, 7, 6, 9, 8])
    own = TextEncoder(_body(name), TEXTS, ORDER).eval().all_items()
    read = TextEncoder(_body(name), TEXTS, ORDER, row=row).eval()
    torch.testing.assert_close(read.all_items(), own[row], atol=1e-5, rtol=0)
    torch.testing.assert_close(read.items(torch.tensor([2, 9])), own[[3, 8]], atol=1e-5, rtol=0)
