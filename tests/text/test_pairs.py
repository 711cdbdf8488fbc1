"""User and item read together: what the backbone is given, token by token, and vectors recomputed
without us."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from coldlm.config.tree import list_options
from coldlm.core.errors import CheckpointError
from coldlm.core.seeding import torch_seed
from coldlm.models import strategy
from coldlm.models.backbone import tiny
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.text.pairs import PairReader

TEXTS = ("moon", "sea", "", "a long tale of ships and stars")
HISTORY = np.array([[1, 0], [-1, -1], [3, -1]])
USERS = ("", "", "tea")
"""User 0 took 1, then 0 before it; user 1 is unknown; user 2 has a text and took 3."""


def two_types() -> Backbone:
    """A BERT that tells the first text from the second."""
    small = tiny(family="bert", width=16, max_tokens=128)
    small.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    with torch_seed(3):
        config = BertConfig(**{**small.model.config.to_dict(), "type_vocab_size": 2})
        model = BertModel(config, add_pooling_layer=False)
    return Backbone(model, small.tokenizer, name="types", pooling="cls", max_tokens=128)


def read(body: Backbone, row: list[int], item: list[int]) -> torch.Tensor:
    reader = PairReader(strategy.frozen(body), TEXTS).eval()
    return reader(USERS, HISTORY, np.array(row, np.int64), np.array(item, np.int64))


def test_a_tokenizer_that_closes_no_text_is_refused() -> None:
    body = tiny(family="bert")
    body.tokenizer.sep_token = None
    with pytest.raises(
        CheckpointError, match=r"tokenizer of backbone 'tiny_bert' has no tokens .*use head=towers"
    ):
        PairReader(strategy.frozen(body), TEXTS)


def test_a_pair_is_what_transformers_alone_makes_of_its_two_texts() -> None:
    body = two_types()
    for row, user in enumerate(("sea; moon", "", "tea; a long tale of ships and stars")):
        for item, text in enumerate(TEXTS):
            first = body.tokenizer(user)["input_ids"]
            second = body.tokenizer(text)["input_ids"][1:]
            types = torch.tensor([[0] * len(first) + [1] * len(second)])
            with torch.no_grad():
                expected = body.model(
                    torch.tensor([first + second]), token_type_ids=types
                ).last_hidden_state[:, 0]
            torch.testing.assert_close(read(body, [row], [item]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "between", "ends"),
    [("bert", "[SEP]", True), ("roberta", "[SEP][SEP]", True), ("gpt2", "<|endoftext|>", False)],
)
def test_each_family_has_its_own_separator(family: str, between: str, ends: bool) -> None:
    body = tiny(family=family, width=16)
    reader = PairReader(body, TEXTS)
    ids, second = reader._join(reader._tokenize(["tea"])[0], reader.items[0])
    spoken = "".join(body.tokenizer.convert_ids_to_tokens(ids))
    assert spoken == (f"[CLS]tea{between}moon[SEP]" if ends else f"tea{between}moon{between}")
    assert "".join(body.tokenizer.convert_ids_to_tokens(ids[second:])).startswith("moon")


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_pair_has_the_same_vector_alone_and_in_any_company(family: str, pooling: str) -> None:
    body = tiny(family=family, width=16, pooling=pooling)
    row, item = [0, 1, 2, 0, 2, 1], [3, 2, 0, 1, 3, 0]
    together = read(body, row, item)
    for n in range(6):
        torch.testing.assert_close(
            together[n : n + 1], read(body, row[n : n + 1], item[n : n + 1]), atol=1e-5, rtol=0
        )
    assert together.isfinite().all()
    assert read(body, [], []).shape == (0, 16)


def test_what_is_too_long_loses_the_users_end_first_and_an_item_keeps_half() -> None:
    reader = PairReader(tiny(family="bert", width=16, max_tokens=13), TEXTS)
    assert reader.room == 10
    long, short = list(range(100, 130)), list(range(200, 204))
    cut = lambda user, item: reader._join(user, item)[0]  # noqa: E731
    cls, sep = reader.before, reader.behind
    assert cut(long, short) == [*cls, *long[:6], *sep, *short, *sep]
    assert cut(long, long) == [*cls, *long[:5], *sep, *long[:5], *sep]
    assert cut(short, long) == [*cls, *short, *sep, *long[:6], *sep]
    # 11 and 0 of 41 bytes beside an item of (4 + 3 + 0 + 30) / 4 = 9 bytes, of which 5 fit
    assert reader.lost(["abcdefghijklmnop", "", "x" * 25], np.full((3, 1), -1)) == (11 + 20, 41)


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
@pytest.mark.parametrize("name", [name for name in list_options()["strategy"] if name != "frozen"])
def test_gradients_reach_what_trains_under_every_strategy(name: str, family: str) -> None:
    body = getattr(strategy, name)(tiny(family=family, width=16))
    reader = PairReader(body, TEXTS).train()
    reader(USERS, HISTORY, np.array([0, 2, 2]), np.array([1, 0, 3])).square().sum().backward()
    assert any(p.requires_grad for p in reader.parameters())
    assert all((p.grad is not None) <= p.requires_grad for p in reader.parameters())
    assert any(p.grad is not None and p.grad.any() for p in reader.parameters())
