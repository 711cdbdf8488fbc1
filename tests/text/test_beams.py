"""Lists that a causal model writes: what may be said, and that a wide beam finds what scoring
everything finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coldlm.models import strategy
from coldlm.models.backbone import tiny
from coldlm.text.beams import Trie
from coldlm.text.prompts import PromptReader

TEXTS = ("moon", "moonlight", "sea", "moon", "", "seaside", "tea", "star ship", "star")
NOTHING = np.array([-1, -1])


@pytest.fixture(scope="module")
def reader() -> PromptReader:
    body = strategy.frozen(tiny(family="gpt2", width=16, seed=5))
    with torch.no_grad():  # a model with opinions
        body.model.wte.weight.mul_(20)
    return PromptReader(body, TEXTS, "{history} {query}:").eval()


def brute_force(
    reader: PromptReader, text: str, history: np.ndarray, items: np.ndarray
) -> dict[int, float]:
    with torch.no_grad():
        scores = reader([text], history[None], np.zeros(len(items), np.int64), items)
    return dict(zip(items.tolist(), scores.tolist(), strict=True))


def test_a_trie_holds_every_sequence_and_the_items_of_equal_ones() -> None:
    trie = Trie.of({7: [1, 2, 0], 3: [1, 0], 5: [1, 2, 0]})
    assert list(trie.children) == [1]
    after = trie.children[1].children
    assert {token: node.here for token, node in after.items()} == {2: [], 0: [3]}
    assert after[2].children[0].here == [7, 5]
    assert not after[2].children[0].children


@pytest.mark.parametrize(("text", "past"), [("ship", [2, 0]), ("", [-1, -1])])
def test_a_beam_as_wide_as_the_catalogue_finds_every_text_with_the_score_of_scoring_it(
    reader: PromptReader, text: str, past: list[int]
) -> None:
    items, history = np.arange(len(TEXTS)), np.array(past)
    found = reader.generate(text, history, items, len(TEXTS))
    expected = brute_force(reader, text, history, items)
    assert found.keys() == expected.keys()
    assert [found[item] for item in expected] == pytest.approx(list(expected.values()), abs=1e-4)
    assert found[0] == found[3]  # one text


@pytest.mark.parametrize("beams", [1, 2, 3])
def test_a_narrow_beam_invents_nothing_and_scores_what_it_finds_alike(
    reader: PromptReader, beams: int
) -> None:
    allowed = np.array([1, 2, 5, 6, 8])
    found = reader.generate("ship", NOTHING, allowed, beams)
    expected = brute_force(reader, "ship", NOTHING, allowed)
    assert len(found) > 0
    assert found.keys() <= set(allowed.tolist())
    assert all(score == pytest.approx(expected[item], abs=1e-4) for item, score in found.items())


def test_one_beam_takes_the_best_step_each_time(reader: PromptReader) -> None:
    (best,) = reader.generate("", NOTHING, np.array([6]), 1)  # nothing else may be said
    assert best == 6
    found = reader.generate("", NOTHING, np.arange(len(TEXTS)), 1)
    assert len(found) < len(TEXTS)
    assert reader.generate("", NOTHING, np.array([], np.int64), 3) == {}
