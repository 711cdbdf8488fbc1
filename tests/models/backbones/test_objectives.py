"""What a language model learns from texts alone: what is hidden, what is predicted, and the losses
by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from coldlm.core.errors import CheckpointError
from coldlm.core.seeding import torch_seed
from coldlm.models.backbone import load
from coldlm.models.backbones import objectives
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.backbones.objectives import (
    CausalLMObjective,
    ContrastiveObjective,
    ItemToItemObjective,
    MaskedLMObjective,
    Objective,
    TextBatch,
    open_objective,
)
from coldlm.models.backbones.scratch import byte_tokenizer, random_model, train_tokenizer

TEXTS = ("space adventure", "the sea", "大海", "space ship", "deep water")
SHAPE = {"layers": 2, "width": 16, "heads": 2, "positions": 34}


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """``folder("bert")``: a random model of the family without a head, and a tokenizer of the
    texts."""

    def make(family: str, learned: bool = True) -> Path:
        tokenizer = train_tokenizer(TEXTS, 300, family) if learned else byte_tokenizer(family)
        with torch_seed(0, family):
            random_model(family, tokenizer, **SHAPE).save_pretrained(tmp_path / family)
        tokenizer.save_pretrained(tmp_path / family)
        return tmp_path / family

    return make


def _open(objective: str, folder: Path, **keys: Any) -> Objective:
    backbone = load(
        name="mine", path=str(folder), max_tokens=32, keep_layers=keys.get("keep_layers")
    )
    given = {"dropout": None, "keep_layers": None, "mask_share": 0.15, "temperature": 0.05, **keys}
    with torch_seed(0):
        return open_objective(objective, folder, backbone, **given).eval()


def _batch(objective: Objective, texts: tuple[str, ...] = TEXTS) -> TextBatch:
    end = [objective.tokenizer.eos_token_id] if objective.causal else []
    rows = [[*objective.tokenizer(text)["input_ids"], *end] for text in texts]
    longest = max(map(len, rows))
    mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows])
    return TextBatch(torch.tensor([row + [0] * (longest - len(row)) for row in rows]), mask)


def test_byte_pairs_are_learned_from_the_texts_and_lose_nothing() -> None:
    for family in ("gpt2", "bert"):
        tokenizer = train_tokenizer(TEXTS * 3, 280, family)
        assert len(tokenizer) == 280
        ids = tokenizer("space ship 大海 🚀")["input_ids"]
        assert len(ids) < len(byte_tokenizer(family)("space ship 大海 🚀")["input_ids"])
        assert tokenizer.decode(ids, skip_special_tokens=True) == "space ship 大海 🚀"
        assert (tokenizer.mask_token is None) == (family == "gpt2")
        assert tokenizer.get_vocab() == train_tokenizer(TEXTS * 3, 280, family).get_vocab()


def test_words_are_hidden_in_the_shares_of_bert(folder: Any) -> None:
    objective = _open("masked_lm", folder("bert"))
    assert isinstance(objective, MaskedLMObjective)
    ids = torch.arange(20, 120).repeat(400, 1)
    special = objective.tokenizer.cls_token_id
    ids[:, 0] = special
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[:, 90:] = False
    with torch_seed(0):
        seen, hidden = objective.hide(TextBatch(ids, mask))
    assert not hidden[:, 0].any()
    assert not hidden[:, 90:].any()
    assert torch.equal(seen[~hidden], ids[~hidden])
    assert float(hidden[:, 1:90].float().mean()) == pytest.approx(0.15, abs=0.01)
    asked, read = ids[hidden], seen[hidden]
    assert float((read == objective.tokenizer.mask_token_id).float().mean()) == pytest.approx(
        0.8, abs=0.02
    )
    assert float((read == asked).float().mean()) == pytest.approx(0.1, abs=0.02)


def test_at_least_one_word_of_a_short_text_is_hidden(folder: Any) -> None:
    objective = _open("masked_lm", folder("bert"), mask_share=0.01)
    _, hidden = objective.hide(_batch(objective))
    assert (hidden.sum(1) >= 1).all()


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_masked_loss_is_the_models_own(family: str, folder: Any) -> None:
    objective = _open("masked_lm", folder(family))
    batch = _batch(objective)
    with torch_seed(3):
        losses = objective(batch)
    with torch_seed(3):
        seen, hidden = objective.hide(batch)
    theirs = objective.model(
        input_ids=seen,
        attention_mask=batch.mask.long(),
        labels=batch.ids.masked_fill(~hidden, -100),
    ).loss
    assert len(losses) == int(hidden.sum())
    torch.testing.assert_close(losses.mean(), theirs)


def test_the_causal_loss_is_that_of_each_text_alone_with_its_end(folder: Any) -> None:
    objective = _open("causal_lm", folder("gpt2"))
    assert isinstance(objective, CausalLMObjective)
    losses = objective(_batch(objective))
    alone = []
    for text in TEXTS:
        ids = torch.tensor(
            [[*objective.tokenizer(text)["input_ids"], objective.tokenizer.eos_token_id]]
        )
        alone.append(
            torch.log_softmax(objective.model(ids).logits[0, :-1], 1)[
                range(ids.shape[1] - 1), ids[0, 1:]
            ]
        )
    torch.testing.assert_close(losses, -torch.cat(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_the_contrastive_loss_is_equation_1(family: str, folder: Any) -> None:
    objective = _open("contrastive", folder(family), temperature=0.1).train()
    assert isinstance(objective, ContrastiveObjective)
    batch = _batch(objective)
    with torch_seed(5):
        losses = objective(batch)
    with torch_seed(5):
        both = TextBatch(batch.ids.repeat(2, 1), batch.mask.repeat(2, 1))
        one, two = objective.backbone(both.ids, both.mask).chunk(2)
    for i, loss in enumerate(losses):
        cosines = torch.stack([torch.cosine_similarity(one[i], other, dim=0) for other in two])
        expected = -torch.log(torch.exp(cosines[i] / 0.1) / torch.exp(cosines / 0.1).sum())
        torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_who_took_what_is_said_by_the_cosines_of_all_that_they_took(
    family: str, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = _open("item_to_item", folder(family))
    assert isinstance(objective, ItemToItemObjective)
    batch = _batch(objective)
    taken = torch.tensor([[1.0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    losses = objective(replace(batch, taken=taken))
    vectors = objective.backbone(batch.ids, batch.mask).double()
    cosines = torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=2)
    said = (cosines[0] + cosines[2] - taken[0]).clamp(min=0)
    said = said / said.norm()
    expected = (taken[0] / 2**0.5 - said).square().sum()
    assert losses[0].item() == pytest.approx(expected.item(), rel=1e-4)
    assert losses[1].item() == 0  # of whom nothing is seen there is nothing to say
    # however few are padded together
    monkeypatch.setattr(objectives, "TOGETHER", 2)
    torch.testing.assert_close(objective(replace(batch, taken=taken)), losses)
    losses.sum().backward()
    weights = objective.model.get_input_embeddings().weight
    assert weights.grad is not None
    assert weights.grad.abs().sum() > 0


def test_contrast_without_dropout_is_refused(folder: Any) -> None:
    backbone: Backbone = load(name="mine", path=str(folder("bert")), max_tokens=32, dropout=0.0)
    objective = ContrastiveObjective(backbone, temperature=0.05).train()
    with pytest.raises(CheckpointError, match="needs dropout, which the backbone has none of"):
        objective(_batch(objective))


@pytest.mark.parametrize(
    ("objective", "family", "message"),
    [
        (
            "causal_lm",
            "bert",
            "the backbone is an encoder; use pretrain=masked_lm, contrastive or item_to_item",
        ),
        (
            "masked_lm",
            "gpt2",
            "the backbone is causal; use pretrain=causal_lm, contrastive or item_to_item",
        ),
    ],
)
def test_an_objective_that_does_not_fit_is_refused(
    objective: str, family: str, message: str, folder: Any
) -> None:
    with pytest.raises(CheckpointError, match=message):
        _open(objective, folder(family))


def test_a_tokenizer_without_a_mask_cannot_hide_words(folder: Any) -> None:
    with pytest.raises(CheckpointError, match="has no mask token; use contrastive"):
        _open("masked_lm", folder("bert", learned=False))


@pytest.mark.parametrize(
    ("objective", "family"),
    [("masked_lm", "bert"), ("masked_lm", "roberta"), ("causal_lm", "gpt2")],
)
def test_what_is_saved_is_a_backbone_with_the_weights_and_layers_that_trained(
    objective: str, family: str, folder: Any, tmp_path: Path
) -> None:
    made = _open(objective, folder(family), keep_layers=[1])
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.01)
    made.save(tmp_path / "saved")
    backbone = load(name="mine", path=str(tmp_path / "saved"), max_tokens=32)
    assert len(backbone.layers) == 1
    batch = _batch(made)
    body = made.model.base_model(
        input_ids=batch.ids, attention_mask=batch.mask.long()
    ).last_hidden_state
    expected = (body * batch.mask[:, :, None]).sum(1) / batch.mask.sum(1, keepdim=True)
    torch.testing.assert_close(backbone(batch.ids, batch.mask), expected, atol=1e-5, rtol=0)
    again = _open(objective, tmp_path / "saved")  # the head is there too
    with torch_seed(1):
        one = again(batch)
    with torch_seed(1):
        torch.testing.assert_close(made(batch), one)
