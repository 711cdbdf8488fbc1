"""The generative head: how probable a causal model finds an item's text behind a prompt about the user."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from coldlm.columns import Range


class CausalLM(nn.Module):
    """Score = mean log-probability of the item's tokens (``text.prompts``); no parameters of its own.

    Trained by ``loss=nll`` to say the text of the item that was chosen; under ``strategy=frozen`` it is the zero-shot
    log-probability. Like ``models.pair`` it re-ranks; a list can also be generated (``coldlm recommend --generate``).

    Args:
        input_width: D (given at run time; nothing depends on it).
        history: items in the prompt, newest first, as far as ``backbone.max_tokens`` goes.
        prompt: with the fields {history} and {query}, each empty where nothing is known.
        pseudo_query: share of training histories replaced by words drawn from the next item's own text.
        first_stage, rerank: as in ``models.pair``.
    """

    uses_text = True
    uses_context = False

    def __init__(
        self,
        input_width: int,
        /,
        *,
        history: Annotated[int, Range(1)] = 20,
        prompt: str = "Chosen before, newest first: {history}\nLooking for: {query}\nChosen next:",
        pseudo_query: Annotated[float, Range(0, 1)] = 0.05,
        first_stage: str = "recent_popularity",
        rerank: Annotated[int, Range(1)] = 100,
    ) -> None:
        super().__init__()
        self.history, self.prompt, self.pseudo_query = history, prompt, pseudo_query
        self.first_stage, self.rerank = first_stage, rerank

    def read(self, scores: Tensor) -> Tensor:
        """[n] scores as the reader gives them."""
        return scores
