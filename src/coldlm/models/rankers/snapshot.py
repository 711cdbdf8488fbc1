"""One immutable version of a model as a scorer: what is live between two updates.

Shapes: Q queries, N items, W width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from coldlm.asof.context import AsOf, Moments
from coldlm.core.aligned import aligned
from coldlm.core.compiled import is_on
from coldlm.core.errors import ScoreError
from coldlm.core.tables import Floats, Ints, Users
from coldlm.models.parts.sides import ItemSide, UserSide, joined

if TYPE_CHECKING:
    from coldlm.models.rankers.ranker import Ranker, ScoringBatch


AT_ONCE = 1 << 16
"""Items whose side is made at once: of what lies in between there is as much as text vectors."""


@dataclass(frozen=True)
class ItemVectors:
    """``vectors``: [N, D] of every item. ``source``: digest of the weights and texts that they were
    made from."""

    vectors: Tensor
    source: str


class Snapshot:
    """A frozen copy of the head, the item side of the catalogue, the profiles and the typed queries;
    later training leaves them alone.

    Args:
        as_of: what is known of users and items before each time.
        kept: vectors of an earlier snapshot, taken if they are those of the weights of now.
    """

    def __init__(
        self,
        ranker: Ranker,
        as_of: AsOf,
        users: Users,
        n_items: int,
        kept: ItemVectors | None = None,
    ) -> None:
        ranker.eval()
        self._as_of = as_of
        self._head = copy.deepcopy(ranker.head).eval().requires_grad_(False)
        self.vectors = ranker.item_vectors(kept, n_items)
        self._side: ItemSide | None = None
        if self.vectors is not None:
            with torch.no_grad():
                codes = torch.split(torch.arange(n_items, device=ranker.device), AT_ONCE)
                texts = torch.split(self.vectors.vectors, AT_ONCE)
                parts = (ranker.side(*part) for part in zip(texts, codes, strict=True))
                self._side = joined(parts, n_items)
        self._every_item = np.arange(n_items)
        self._ranker = ranker
        self._weights = list(ranker.trainable())
        self._tensors = ranker.tensors(self._weights)
        self._written, self._source = self._count_writes(), ranker.digest(self._weights)
        self._device = ranker.device
        self._users = users
        number = torch.full((len(users.read),), -1, dtype=torch.int64)
        with_text = [place for place, text in enumerate(users.read) if text]
        number[with_text] = torch.arange(len(with_text))
        self._texts, self._has_text = self._read([users.read[place] for place in with_text], number)

    def remembering(self, as_of: AsOf) -> Snapshot:
        """Return the same weights with another memory."""
        other = copy.copy(self)
        other._as_of = as_of
        return other

    def __call__(self, users: Ints, times: Ints) -> Tensor:
        """[Q, N] float32 scores of all items for who asks at each time."""
        history = self._as_of.history(users, times, self._head.history)
        text = torch.from_numpy(self._users.place(users)).to(self._device)
        features: Tensor | Moments | None
        if self._head.uses_context and self._device.type == "cpu" and is_on():
            features = Moments(self._as_of, times)
        else:
            features = self._features(times)
        side = None
        if self._side is not None:
            with torch.no_grad():
                read = self._texts[text], self._has_text[text]
                side = self._head.users(*self._past(history), *read)
        return self._score(side, features)

    def answer(self, time: int, *, text: str = "", history: Sequence[int] = ()) -> Tensor:
        """Return [N] scores for a typed text and/or a history of item codes, newest first, as of
        ``time``.

        A typed text is read by the ranker itself, so ask before it trains on.

        Raises:
            ScoreError: it has.
        """
        users = self._asked(text, history)
        # of one list the planes are small, and whoever asks for it would wait for a compiler
        return self._score(users, self._features(np.array([time])))[0]

    @torch.no_grad()
    def _asked(self, text: str, history: Sequence[int]) -> UserSide | None:
        """The user side of a typed text and/or a history, [1]."""
        if self._side is None:
            return None
        length = self._head.history
        past = np.full((1, length), -1, np.int64)
        past[0, : min(len(history), length)] = history[:length]
        read = self._read([text] if text else [], torch.tensor([0 if text else -1]))
        users: UserSide = self._head.users(*self._past(past), *read)
        return users

    @torch.no_grad()
    def shares(
        self, time: int, items: Ints, *, text: str = "", history: Sequence[int] = ()
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return what the text and what counts, recency and age add to the scores that ``answer`` gives
        the ``items``, [M] each, None for what the head does not use.

        Raises:
            ScoreError: see ``answer``.
        """
        users, side = None, None
        if self._side is not None:
            users, side = self._asked(text, history), self._side.at(torch.from_numpy(items))
        features = None
        if self._head.uses_context:
            features = aligned(self._as_of.features(np.array([time]), items)).to(self._device)
        parts: tuple[Tensor | None, ...] = self._head.shares(users, side, features)
        read, counted = (None if part is None else part[0].float().cpu() for part in parts)
        return read, counted

    @torch.no_grad()
    def user_vectors(self, users: Ints, times: Ints) -> Floats:
        """Return [E, W] the user side of who asks at each time; [E, 0] under a head without
        text."""
        if self._side is None:
            return np.zeros((len(users), 0))
        past = self._past(self._as_of.history(users, times, self._head.history))
        text = torch.from_numpy(self._users.place(users)).to(self._device)
        side = self._head.users(*past, self._texts[text], self._has_text[text])
        vectors: Floats = side.vector.double().cpu().numpy()
        return vectors

    @torch.no_grad()
    def batch(self, batch: ScoringBatch) -> Tensor:
        """Return [B, M] scores of a training batch, from the catalogue as encoded; ask before the
        ranker trains on.

        Raises:
            ScoreError: it has.
        """
        self._require_its_weights()
        return self._ranker.score(None if self._side is None else self._side.at(batch.items), batch)

    @torch.no_grad()
    def _score(self, users: UserSide | None, features: Tensor | Moments | None) -> Tensor:
        scores: Tensor = self._head.score(users, self._side, features)
        return scores.float().cpu()

    def _features(self, times: Ints) -> Tensor | None:
        """[F, Q, N] context of all items as of each time, None where the head uses none."""
        if not self._head.uses_context:
            return None
        return aligned(self._as_of.features(times, self._every_item)).to(self._device)

    def _past(self, history: Ints) -> tuple[Tensor, Tensor]:
        """[Q, H, W] vectors of histories, and [Q, H] where there is an item."""
        assert self._side is not None
        past = torch.from_numpy(history).to(self._device)
        return self._side.vector[past.clamp(min=0)], past >= 0

    @torch.no_grad()
    def _read(self, texts: Sequence[str], number: Tensor) -> tuple[Tensor, Tensor]:
        if self._side is None:
            return torch.zeros(len(number), 0), number >= 0
        if texts:
            self._require_its_weights()
        return self._ranker.read(texts, number.to(self._device))

    def _require_its_weights(self) -> None:
        """Refuse vectors of this version beside texts that the ranker reads by other weights."""
        written = self._count_writes()
        if written != self._written:
            if self._ranker.digest(self._weights) != self._source:
                raise ScoreError(
                    "the model has other weights than this version's item vectors were made from; "
                    "ask before it trains on, or take another snapshot"
                )
            self._written = written  # other weights came and went

    def _count_writes(self) -> tuple[int, ...]:
        """How often each weight was written to: quick to ask for, and the same only if none has moved."""
        return tuple(tensor._version for tensor in self._tensors)
