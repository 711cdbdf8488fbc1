"""Decoders of any architecture as causal_lm: their scores are those of transformers' own language
model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from coldlm.core.seeding import torch_seed
from coldlm.models import strategy
from coldlm.models.backbone import load
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.backbones.scratch import byte_tokenizer
from coldlm.text.prompts import PromptReader

NAMED = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
USUAL = {
    **NAMED,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {**USUAL, "tie_word_embeddings": False}),
    "qwen2": ("Qwen2", {**USUAL, "num_key_value_heads": 1, "tie_word_embeddings": True}),
    "mistral, a short window": (
        "Mistral",
        {**USUAL, "num_key_value_heads": 1, "sliding_window": 8},
    ),
    "opt, narrow embeddings": ("OPT", {**NAMED, "ffn_dim": 64, "word_embed_proj_dim": 16}),
    "gpt_neox, a head of another name": ("GPTNeoX", {**USUAL, "tie_word_embeddings": False}),
    "bloom, no positions": ("Bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 2}),
    "phi, a bias": ("Phi", {**USUAL, "tie_word_embeddings": False}),
    "gemma, scaled embeddings": ("Gemma", {**USUAL, "num_key_value_heads": 1, "head_dim": 16}),
}
SILENT: dict[str, tuple[str, dict[str, Any], str]] = {
    "gemma2": (
        "Gemma2",
        {**USUAL, "num_key_value_heads": 1, "head_dim": 16},
        "final_logit_softcapping=30.0",
    ),
    "bert": ("Bert", {**USUAL, "is_decoder": True}, "a 'bert' decoder has more layers in its head"),
    "mamba": (
        "Mamba",
        {"hidden_size": 32, "num_hidden_layers": 2},
        "keeps no keys and values to go on from",
    ),
}
TEXTS = ("moon", "sea", "", "moonlight", "a long tale of ships")
PROMPT = "had {history} wants {query}"
HISTORY = np.array([[1, 0], [-1, -1], [3, -1]])
USERS = ("", "", "tea")
FILLED = ("had sea; moon wants ", "had  wants ", "had moonlight wants tea")
ROW, ITEM = (grid.ravel() for grid in np.meshgrid(np.arange(3), np.arange(5), indexing="ij"))


def save(name: str, keys: dict[str, Any], folder: Path) -> Any:
    """A random language model in ``folder`` with a tokenizer of bytes, and as transformers runs
    it."""
    tokenizer = byte_tokenizer("gpt2")
    config = getattr(transformers, f"{name}Config")(vocab_size=len(tokenizer), **keys)
    with torch_seed(0, name):
        model: Any = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval()


@torch.no_grad()
def alone(model: Any, body: Backbone, prompt: str, text: str) -> float:
    first, second = (body.tokenizer(words)["input_ids"] for words in (prompt, f" {text}"))
    ids = torch.tensor([[*first, *second, body.tokenizer.eos_token_id]])
    said = (
        model(ids, use_cache=False).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
    )
    return float(said[len(first) - 1 :].mean())


@pytest.mark.parametrize("decoder", DECODERS)
def test_scores_are_those_of_its_own_language_model(decoder: str, tmp_path: Path) -> None:
    model = save(*DECODERS[decoder], tmp_path)
    body = strategy.frozen(load(name="mine", path=str(tmp_path)))
    reader = PromptReader(body, TEXTS, PROMPT).eval()
    expected = torch.tensor(
        [alone(model, body, FILLED[r], TEXTS[i]) for r, i in zip(ROW, ITEM, strict=True)]
    )
    assert len(expected.unique()) == len(expected)
    with torch.no_grad():
        shared = reader(USERS, HISTORY, ROW, ITEM)
        one = reader(USERS, HISTORY, ROW[7:8], ITEM[7:8])
        listed = reader.generate("tea", HISTORY[2], np.arange(5), beams=5)
    torch.testing.assert_close(shared, expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(one, expected[7:8], atol=2e-5, rtol=0)
    # with gradient every prompt is read with its item
    torch.testing.assert_close(reader(USERS, HISTORY, ROW, ITEM), expected, atol=2e-5, rtol=0)
    assert listed.keys() == set(range(5))
    assert [listed[i] for i in range(5)] == pytest.approx(expected[10:].tolist(), abs=2e-5)


@pytest.mark.parametrize("name", ["full", "top", "lora", "bitfit"])
def test_what_trains_is_in_the_scores(name: str, tmp_path: Path) -> None:
    save(*DECODERS["qwen2"], tmp_path)
    body = getattr(strategy, name)(load(name="mine", path=str(tmp_path)))
    reader = PromptReader(body, TEXTS, PROMPT).eval()
    with torch.no_grad():
        before = reader(USERS, HISTORY, ROW, ITEM)
        for p in reader.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
        shared = reader(USERS, HISTORY, ROW, ITEM)
    assert (shared - before).abs().max() > 1e-3
    scores = reader(USERS, HISTORY, ROW, ITEM)
    torch.testing.assert_close(scores, shared, atol=2e-5, rtol=0)
    scores.sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in reader.parameters())


@pytest.mark.parametrize("decoder", SILENT)
def test_a_decoder_whose_logits_are_not_read_here_says_so(decoder: str, tmp_path: Path) -> None:
    name, keys, why = SILENT[decoder]
    save(name, keys, tmp_path)
    assert why in str(load(name="mine", path=str(tmp_path)).silence)


def test_a_decoder_saved_without_its_head_says_so(tmp_path: Path) -> None:
    save(*DECODERS["llama"], tmp_path).model.save_pretrained(tmp_path)
    assert "it has no language-model head (lm_head.weight or" in str(
        load(name="mine", path=str(tmp_path)).silence
    )


def test_an_encoder_says_so(tmp_path: Path) -> None:
    config = transformers.BertConfig(vocab_size=300, **NAMED, intermediate_size=64)
    transformers.BertModel(config).save_pretrained(tmp_path)
    byte_tokenizer("bert").save_pretrained(tmp_path)
    assert str(load(name="mine", path=str(tmp_path)).silence).startswith("it is no causal model")
