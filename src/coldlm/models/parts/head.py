"""What every head says of itself, and how it is put together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from coldlm.asof.context import AsOf
    from coldlm.models.parts.sides import ItemSide, UserSide
    from coldlm.models.rankers.pairwise import FirstStage
    from coldlm.models.rankers.ranker import Model


class Parts(Protocol):
    """What a head may be put together from; each is made when it is asked for."""

    def vectors(self) -> Any:
        """Return what turns item codes and texts into vectors (a ``rankers.ranker.Encoder``)."""
        ...

    def pairs(self, history: int) -> Any:
        """Return what reads a user's text and an item's in one pass (``text.pairs``); ``history``:
        items of a user."""
        ...

    def prompts(self, prompt: str, history: int) -> Any:
        """Return what reads an item's text behind a prompt about the user (``text.prompts``)."""
        ...

    def is_new(self) -> Tensor:
        """Return [N] bool, whether each item has no event before the stream."""
        ...

    def first_stage(self, name: str, history: int) -> Callable[[AsOf], FirstStage]:
        """Return the scorer, given what is known, whose best candidates are re-ranked."""
        ...


class Head(nn.Module):
    """How a (user, item) pair becomes a score; see ``config.kinds.Head`` for what must be known
    of it beforehand.

    ``history``: how many of a user's last items it looks at. ``uses_text``, ``uses_context``: what
    it scores from.
    ``pseudo_query``: share of training histories replaced by words of the next item's own text.
    ``is_classifier``: its scores say whether a pair was taken, whatever else there is.
    ``writes_lists``: it can write the texts of a list.
    """

    history: int
    uses_text: bool = True
    uses_context: bool = False
    pseudo_query: float = 0.0
    is_classifier = False
    writes_lists = False

    @abstractmethod
    def assemble(self, parts: Parts) -> Model:
        """Return the model of which this is the head.

        Raises:
            CheckpointError: the backbone cannot carry it.
        """

    def standardise(self, vectors: Tensor) -> None:
        """Take what is needed of the text vectors of items known before training, [M, D]: nothing
        here."""

    def beside(self, codes: Tensor) -> Tensor | None:
        """Return [n, D] what is added to the text vectors of the item ``codes``, [n]; None where that
        is nothing."""
        return None

    def shares(
        self, users: UserSide | None, items: ItemSide | None, features: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return [B, M] what the text and what counts say, whose sum is the score of two towers; None for
        what the head does not use. Here all is the text's."""
        scores: Tensor = self.score(users, items, features)  # type: ignore[operator]
        return scores, None

    @property
    def levels(self) -> list[nn.Parameter]:
        """Return the parameters that add one number to every score alike, see
        ``models/losses.py``."""
        return []
