"""The generative head: how probable a causal model finds an item's text behind a prompt about the
user."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from coldlm.core.columns import Count, Share
from coldlm.models.parts.fusion import Fusion
from coldlm.models.parts.head import Head, Parts
from coldlm.models.rankers.pairwise import PairRanker


class CausalLM(Head):
    """Score = mean log-probability of the item's tokens (``text.prompts``), and what context says.

    Without context it has no parameters of its own: trained by ``loss=nll`` to say the text of the
    item that was chosen; under ``strategy=frozen`` it is the zero-shot log-probability. With
    context, w times that joins the context score (w = 1 at the start), which gives no
    log-probability any more: it learns by ``loss=binary_cross_entropy`` to tell what was chosen
    from what was not; under ``strategy=frozen`` only the fusion learns. Like ``models.pair`` it
    re-ranks; a list can also be generated (``coldlm recommend --generate``).

    Args:
        input_width: D (given at run time; nothing depends on it).
        history: items in the prompt, newest first, as far as ``backbone.max_tokens`` goes.
        prompt: with the fields {history} and {query}, each empty where nothing is known.
        context, fusion, context_width, context_dropout: how counts, recency and age join the score, see
            ``models/parts/fusion.py``.
        pseudo_query: share of training histories replaced by words drawn from the next item's own
            text.
        first_stage, rerank: as in ``models.pair``.
    """

    writes_lists = True

    def __init__(
        self,
        input_width: int,
        /,
        *,
        history: Count = 20,
        prompt: str = "Chosen before, newest first: {history}\nLooking for: {query}\nChosen next:",
        context: Literal["on", "off", "only"] = "off",
        fusion: Literal["add", "gate"] = "add",
        context_width: Count = 8,
        context_dropout: Share = 0.0,
        pseudo_query: Share = 0.05,
        first_stage: str = "mixed",
        rerank: Count = 100,
    ) -> None:
        super().__init__()
        self.history, self.prompt, self.pseudo_query = history, prompt, pseudo_query
        self.first_stage, self.rerank = first_stage, rerank
        self.uses_text, self.uses_context = context != "only", context != "off"
        self.weight: nn.Parameter | None = None
        if self.uses_text and self.uses_context:
            self.weight = nn.Parameter(torch.ones(()))
        self.fusion = Fusion(context, fusion, context_width, context_dropout)

    def assemble(self, parts: Parts) -> PairRanker:
        """Return the model that reads pairs, and re-ranks."""
        first = parts.first_stage(self.first_stage, self.history)
        return PairRanker(parts.prompts(self.prompt, self.history), self, first)

    @property
    def levels(self) -> list[nn.Parameter]:
        """Parameters that add one number to every score alike, see ``models/losses.py``."""
        return self.fusion.levels

    def read(self, scores: Tensor) -> Tensor:
        """Return [n] text scores of the mean log-probabilities that the reader gives, [n]."""
        return scores if self.weight is None else self.weight * scores
