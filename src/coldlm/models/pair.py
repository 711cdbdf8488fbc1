"""The classifier head: one pass over "user text [SEP] item text" -> the logit of a click."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from coldlm.core.columns import Count, Share
from coldlm.models.parts.fusion import Fusion
from coldlm.models.parts.head import Head, Parts
from coldlm.models.rankers.pairwise import PairRanker


class Pair(Head):
    """Text classification (Devlin et al. 2019, section 4.1): logit = w . pooled vector + b, plus
    context.

    The text x is what is known of the user and the item's text, the label y whether the user takes
    it. Too slow for a whole catalogue, so it re-ranks (Nogueira and Cho 2019): the best ``rerank``
    candidates of ``first_stage`` get its logit, the others stay below them in the order of the
    first stage.

    Args:
        input_width: D (given at run time).
        context, fusion, context_width, context_dropout: how counts, recency and age join the logit, see
            ``models/parts/fusion.py``.
        pseudo_query: share of training histories replaced by words drawn from the next item's own
            text.
        dropout: on the pooled vector, in training.
        first_stage: mixed, recent_popularity, popularity, tfidf, zero_shot, or the folder of a
            finished run of two towers.
        rerank: how many of its best candidates are read.
    """

    is_classifier = True

    def __init__(
        self,
        input_width: int,
        /,
        *,
        history: Count = 20,
        context: Literal["on", "off", "only"] = "on",
        fusion: Literal["add", "gate"] = "add",
        context_width: Count = 8,
        context_dropout: Share = 0.0,
        pseudo_query: Share = 0.05,
        dropout: Share = 0.1,
        first_stage: str = "mixed",
        rerank: Count = 100,
    ) -> None:
        super().__init__()
        self.history, self.pseudo_query = history, pseudo_query
        self.first_stage, self.rerank = first_stage, rerank
        self.uses_text, self.uses_context = context != "only", context != "off"
        if self.uses_text:
            self.dropout = nn.Dropout(dropout)
            self.logit = nn.Linear(input_width, 1)
        self.fusion = Fusion(context, fusion, context_width, context_dropout)

    def assemble(self, parts: Parts) -> PairRanker:
        """Return the model that reads pairs, and re-ranks."""
        first = parts.first_stage(self.first_stage, self.history)
        return PairRanker(parts.pairs(self.history), self, first)

    @property
    def levels(self) -> list[nn.Parameter]:
        """Parameters that add one number to every score alike, see ``models/losses.py``."""
        own = [self.logit.bias] if self.uses_text and self.fusion.gate is None else []
        return own + self.fusion.levels

    def read(self, vectors: Tensor) -> Tensor:
        """Return [n] logits of the pooled vectors of n pairs, [n, D]."""
        logits: Tensor = self.logit(self.dropout(vectors))[:, 0]
        return logits
