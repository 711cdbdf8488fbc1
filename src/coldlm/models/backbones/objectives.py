"""What a language model can learn of texts before it is asked for anything: hidden words, the next word,
that a text is like itself, or who took what it is about.

Each objective holds the model that it trains, and gives one loss per token that it predicts, per
text, or per user. Its draws are torch's next ones. Shapes: B texts, T tokens, D width, U users, n predictions.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from coldlm.core.errors import CheckpointError
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.backbones.families import cut_layers, open_model, open_tokenizer, quiet
from coldlm.models.losses import item_to_item
from coldlm.models.parts.adalora import Ranks

TOGETHER = 64
"""Texts that are padded to the longest of them alone, where a batch has more."""


@dataclass(frozen=True)
class TextBatch:
    """``ids``: [B, T] int64, padded on the right. ``mask``: [B, T] bool, True on tokens. ``taken``: [U, B]
    float32, 1 where a user took the item of a text, else 0; None where nobody is looked at."""

    ids: Tensor
    mask: Tensor
    taken: Tensor | None = None

    def to(self, device: torch.device) -> TextBatch:
        """Return the same batch there."""
        taken = None if self.taken is None else self.taken.to(device)
        return TextBatch(self.ids.to(device), self.mask.to(device), taken)


class Objective(nn.Module):
    """A model and what it learns. ``noisy``: whether its losses need dropout, so that it is judged
    with it too."""

    noisy = False

    def __init__(self, model: Any, tokenizer: Any, *, causal: bool, max_tokens: int) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.causal, self.max_tokens = causal, max_tokens
        self.requires_grad_(True)

    @abstractmethod
    def forward(self, batch: TextBatch) -> Tensor:
        """Return [n] losses."""

    @property
    def ranks(self) -> list[Ranks]:
        """None: all weights train, and go on doing so."""
        return []

    def trainable(self) -> dict[str, Tensor]:
        """Return all weights."""
        return {name: p.detach() for name, p in self.named_parameters()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what ``trainable`` gave."""
        with torch.no_grad():
            for name, p in self.named_parameters():
                p.copy_(state[name])

    def save(self, folder: Path) -> None:
        """A folder that ``backbone.load`` reads."""
        with quiet():
            self.model.cpu().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


class MaskedLMObjective(Objective):
    """Hidden tokens from those around them (Devlin et al. 2019, section 3.1, task 1).

    Args:
        share: of a text's tokens that are predicted, special ones left out, but one of them at
            least: 80 % of these are replaced by the mask token, 10 % by a random one, 10 % stay.
    """

    def __init__(self, model: Any, tokenizer: Any, *, max_tokens: int, share: float) -> None:
        super().__init__(model, tokenizer, causal=False, max_tokens=max_tokens)
        if tokenizer.mask_token_id is None:
            raise CheckpointError(
                "pretrain=masked_lm: the backbone's tokenizer has no mask token; use contrastive"
            )
        self._share, self._special = share, torch.tensor(tokenizer.all_special_ids)

    def forward(self, batch: TextBatch) -> Tensor:
        """Return [n] losses of the hidden tokens."""
        ids, hidden = self.hide(batch)
        logits = self.model(input_ids=ids, attention_mask=batch.mask.long()).logits
        return F.cross_entropy(logits[hidden].float(), batch.ids[hidden], reduction="none")

    def hide(self, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """Return [B, T] ids as the model reads them, and [B, T] which of them it must find."""
        can = batch.mask & ~torch.isin(batch.ids, self._special.to(batch.ids.device))
        draw = torch.rand(batch.ids.shape, device=batch.ids.device).masked_fill(~can, 2)
        hidden = can & ((draw < self._share) | (draw == draw.min(1, keepdim=True).values))
        kind = torch.rand(batch.ids.shape, device=batch.ids.device)
        other = torch.randint(len(self.tokenizer), batch.ids.shape, device=batch.ids.device)
        ids = batch.ids.masked_fill(hidden & (kind < 0.8), self.tokenizer.mask_token_id)
        return torch.where(hidden & (kind >= 0.9), other, ids), hidden


class CausalLMObjective(Objective):
    """Each next token, the end of the text included, from those before it (Radford et al. 2019, eq.
    1)."""

    def forward(self, batch: TextBatch) -> Tensor:
        """Return [n] losses of all tokens but each text's first."""
        logits = self.model(input_ids=batch.ids, attention_mask=batch.mask.long()).logits
        told = batch.mask[:, 1:]
        return F.cross_entropy(
            logits[:, :-1][told].float(), batch.ids[:, 1:][told], reduction="none"
        )


class VectorObjective(Objective):
    """What is learned of a backbone's vectors of length 1, with its pooling."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(
            backbone.model,
            backbone.tokenizer,
            causal=backbone.causal,
            max_tokens=backbone.max_tokens,
        )
        backbone.depth, backbone.base_trained = 0, True
        self.backbone = backbone

    def vectors(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return [B, D]."""
        return F.normalize(self.backbone(ids, mask).float(), dim=1)


class ItemToItemObjective(VectorObjective):
    """Who took what, from the texts of all that they took: the item vectors of the linear model of items by
    items are those that the backbone makes of their texts (Vančura et al. 2024, "beeFormer: Bridging the gap
    between semantic and interaction similarity in recommender systems", section 3)."""

    def forward(self, batch: TextBatch) -> Tensor:
        """Return [U] losses."""
        assert batch.taken is not None
        vectors = []
        for first in range(0, len(batch.ids), TOGETHER):
            part = slice(first, first + TOGETHER)
            longest = int(batch.mask[part].sum(1).max())
            vectors.append(self.vectors(batch.ids[part, :longest], batch.mask[part, :longest]))
        return item_to_item(batch.taken, torch.cat(vectors))


class ContrastiveObjective(VectorObjective):
    """A text from its own vector under other dropout, among the texts of the batch (Gao et al.
    2021, eq. 1).

    Args:
        backbone: with its pooling; the MLP that they put on it while training is left out.
        temperature: by which cosines are divided.
    """

    noisy = True

    def __init__(self, backbone: Backbone, *, temperature: float) -> None:
        super().__init__(backbone)
        self._temperature = temperature

    def forward(self, batch: TextBatch) -> Tensor:
        """Return [B] losses."""
        ids, mask = torch.cat([batch.ids, batch.ids]), torch.cat([batch.mask, batch.mask])
        one, two = self.vectors(ids, mask).chunk(2)
        if self.training and torch.equal(one, two):
            raise CheckpointError(
                "pretrain=contrastive needs dropout, which the backbone has none of; set it"
            )
        cosines = one @ two.T / self._temperature
        return F.cross_entropy(
            cosines, torch.arange(len(cosines), device=cosines.device), reduction="none"
        )


def open_objective(
    objective: str,
    folder: Path,
    backbone: Backbone,
    *,
    dropout: float | None,
    keep_layers: int | list[int] | None,
    mask_share: float | None,
    temperature: float | None,
) -> Objective:
    """Objective "masked_lm", "causal_lm", "contrastive" or "item_to_item" over the model in ``folder``, whose
    body is ``backbone``.

    A head that the folder lacks starts at random.

    Raises:
        CheckpointError: an objective that does not fit the model.
    """
    if objective == "item_to_item":
        return ItemToItemObjective(backbone)
    if objective == "contrastive":
        assert temperature is not None
        return ContrastiveObjective(backbone, temperature=temperature)
    if backbone.causal != (objective == "causal_lm"):
        kind, fits = ("causal", "causal_lm") if backbone.causal else ("an encoder", "masked_lm")
        raise CheckpointError(
            f"pretrain={objective}: the backbone is {kind}; use pretrain={fits}, contrastive or item_to_item"
        )
    auto = AutoModelForCausalLM if backbone.causal else AutoModelForMaskedLM
    model = open_model(folder, auto, dropout=dropout)
    if keep_layers is not None:
        cut_layers(model, keep_layers)
    tokenizer = open_tokenizer(folder, model)
    if backbone.causal:
        return CausalLMObjective(model, tokenizer, causal=True, max_tokens=backbone.max_tokens)
    assert mask_share is not None
    return MaskedLMObjective(model, tokenizer, max_tokens=backbone.max_tokens, share=mask_share)
