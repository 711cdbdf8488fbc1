"""Log-probabilities of texts behind prompts: recomputed with transformers alone, and the same from
shared keys."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from coldlm.config.tree import list_options
from coldlm.models import strategy
from coldlm.models.backbone import load, tiny
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.text.prompts import PromptReader

TEXTS = ("moon", "sea", "", "moonlight", "a long tale of ships")
PROMPT = "had {history} wants {query}"
HISTORY = np.array([[1, 0], [-1, -1], [3, -1]])
USERS = ("", "", "tea")
FILLED = ("had sea; moon wants ", "had  wants ", "had moonlight wants tea")


def make(name: str = "frozen", max_tokens: int = 64) -> PromptReader:
    body = getattr(strategy, name)(tiny(family="gpt2", width=16, max_tokens=max_tokens))
    return PromptReader(body, TEXTS, PROMPT).eval()


@torch.no_grad()
def alone(body: Backbone, prompt: str, text: str, head: torch.Tensor | None = None) -> float:
    """The same score, with a language model of transformers and no shared anything."""
    model = GPT2LMHeadModel(body.model.config)
    model.transformer.load_state_dict(body.model.state_dict())
    if head is not None:
        model.lm_head.weight = torch.nn.Parameter(head)
    first, second = (body.tokenizer(words)["input_ids"] for words in (prompt, f" {text}"))
    ids = torch.tensor([[*first, *second, body.tokenizer.eos_token_id]])
    said = model.eval()(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
    return float(said[len(first) - 1 :].mean())


def test_a_score_is_the_mean_log_probability_that_transformers_alone_gives() -> None:
    reader = make()
    row, item = (grid.ravel() for grid in np.meshgrid(np.arange(3), np.arange(5), indexing="ij"))
    expected = torch.tensor(
        [alone(reader.body, FILLED[r], TEXTS[i]) for r, i in zip(row, item, strict=True)]
    )
    with torch.no_grad():
        shared = reader(USERS, HISTORY, row, item)
    torch.testing.assert_close(shared, expected, atol=1e-5, rtol=0)
    # with gradient every prompt is read with its item
    torch.testing.assert_close(reader(USERS, HISTORY, row, item), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in list_options()["strategy"] if name != "frozen"])
def test_training_reads_what_scoring_reads(name: str) -> None:
    reader = make(name)
    with torch.no_grad():
        for p in reader.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
        shared = reader(USERS, HISTORY, np.array([0, 2, 2]), np.array([3, 1, 2]))
    scores = reader(USERS, HISTORY, np.array([0, 2, 2]), np.array([3, 1, 2]))
    torch.testing.assert_close(scores, shared, atol=1e-5, rtol=0)
    scores.sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in reader.parameters())


def test_a_score_is_the_same_alone_and_in_any_company() -> None:
    reader = make()
    row, item = np.array([0, 2, 0, 0, 1]), np.array([4, 1, 0, 2, 3])
    with torch.no_grad():
        together = reader(USERS, HISTORY, row, item)
        each = torch.cat(
            [reader(USERS, HISTORY, row[n : n + 1], item[n : n + 1]) for n in range(5)]
        )
    torch.testing.assert_close(together, each, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 8, 1000])
def test_shared_beginnings_are_read_once_and_change_no_score(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, read = make(), []
    prompt = reader.prompts([""], HISTORY[:1])[0]
    branch = Backbone.branch
    monkeypatch.setattr("coldlm.text.prompts.FOREST", size)
    monkeypatch.setattr(
        Backbone, "branch", lambda self, ids, *rest: read.append(ids) or branch(self, ids, *rest)
    )
    with torch.no_grad():
        together = reader.score(prompt, reader.items)
        monkeypatch.setattr(Backbone, "branches", False)
        padded = reader.score(prompt, reader.items)
    torch.testing.assert_close(together, padded, atol=0, rtol=1e-5)
    if size == 1000:
        beginnings = {tuple(ids[:n]) for ids in reader.items for n in range(1, len(ids))}
        assert [ids.shape[1] for ids in read] == [len(beginnings)]


def test_a_prompt_that_does_not_fit_loses_its_oldest_items_and_then_its_beginning() -> None:
    reader = make(max_tokens=40)
    speak = reader.body.tokenizer.decode
    assert [speak(ids) for ids in reader.items[:3]] == [
        " moon<|endoftext|>",
        " sea<|endoftext|>",
        " <|endoftext|>",
    ]
    # half of 40, its end included
    assert speak(reader.items[4]) == " a long tale of shi<|endoftext|>"
    assert reader.room == 20
    assert speak(reader.prompts([""], np.array([[1, 0]]))[0]) == "had sea; moon wants "
    assert speak(reader.prompts([""], np.array([[3, 1]]))[0]) == "had moonlight wants "[-20:]
    assert (
        speak(reader.prompts(["a cup of tea"], np.array([[3, 1]]))[0])
        == "had  wants a cup of tea"[-20:]
    )
    assert reader.lost(["", "a cup of tea"], np.array([[1, 0], [-1, -1]])) == (3, 43)


def test_a_head_of_its_own_is_read_from_the_checkpoint(tmp_path: pytest.TempPathFactory) -> None:
    body = tiny(family="gpt2", width=16)
    body.model.config.tie_word_embeddings = False
    model = GPT2LMHeadModel(body.model.config)
    model.transformer.load_state_dict(body.model.state_dict())
    model.save_pretrained(tmp_path)
    body.tokenizer.save_pretrained(tmp_path)
    loaded = load(name="own", path=str(tmp_path))
    assert loaded.silence is None
    assert loaded.output is not None
    assert torch.equal(loaded.output, model.lm_head.weight)
    with torch.no_grad():
        score = PromptReader(loaded, TEXTS, PROMPT).eval()(
            USERS, HISTORY, np.array([0]), np.array([3])
        )
    assert float(score) == pytest.approx(
        alone(loaded, FILLED[0], TEXTS[3], model.lm_head.weight), abs=1e-5
    )
    body.model.save_pretrained(tmp_path)
    assert "no language-model head" in str(load(name="without", path=str(tmp_path)).silence)
