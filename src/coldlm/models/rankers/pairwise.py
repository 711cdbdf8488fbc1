"""The model of heads that read user and item together, and its snapshot, which re-ranks a first
stage.

Shapes: B events, M columns, n pairs, Q queries, N items.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.aligned import aligned
from coldlm.core.seeding import generator
from coldlm.core.tables import Bools, Ints, Users
from coldlm.models.rankers.ranker import Model, ScoringBatch


class FirstStage(Protocol):
    """A scorer of the whole catalogue that also answers somebody who is no user yet."""

    def __call__(self, users: Ints, times: Ints, /) -> Tensor: ...
    def answer(self, time: int, *, text: str = "", history: Sequence[int] = ()) -> Tensor: ...


class PairRanker(Model):
    """Scores (user, item) pairs that are read together.

    Args:
        encoder: (texts, history, row, item) -> what ``head.read`` makes [n] scores of
            (``text.pairs``).
        head: ``Pair`` or another with its attributes.
        first_stage: what is known -> the scorer whose best candidates are read.
    """

    def __init__(self, encoder: Any, head: Any, first_stage: Callable[[AsOf], FirstStage]) -> None:
        super().__init__(encoder, head)
        self.first_stage: Callable[[AsOf], FirstStage] = first_stage

    def snapshot(
        self, as_of: AsOf, users: Users, catalogue: Catalogue, before: Any = None
    ) -> PairSnapshot:
        """Return the current weights as a scorer that remembers ``as_of``; there are no vectors to
        keep."""
        return PairSnapshot(self, as_of, users, catalogue)

    def forward(self, batch: ScoringBatch) -> Tensor:
        """Return [B, M] logits; only those of positives and of columns that were drawn for an event
        (a finite ``log_weight``) have read the texts."""
        text, known = None, batch.history >= 0
        if self.head.uses_text:
            wanted = torch.isfinite(batch.log_weight)
            wanted[torch.arange(len(wanted), device=wanted.device), batch.positive] = True
            row, column = wanted.nonzero(as_tuple=True)
            past = torch.where(known, batch.items[batch.history.clamp(min=0)], -1)
            texts = [batch.texts[number] if number >= 0 else "" for number in batch.text.tolist()]
            item = batch.items[batch.columns[column]]
            read = self.head.read(
                self.encoder(texts, past.cpu().numpy(), row.cpu().numpy(), item.cpu().numpy())
            )
            text = torch.zeros(wanted.shape, device=wanted.device).index_put(
                (row, column), read.float()
            )
        scores: Tensor = self.head.fusion(text, batch.features, known.sum(1))
        return scores

    def read(self, text: str, history: Ints, items: Ints) -> Tensor:
        """Return [n] scores of the ``items`` [n] for one typed text and/or history [H], without
        context."""
        row = np.zeros(len(items), np.int64)
        scores: Tensor = self.head.read(self.encoder([text], history[None], row, items))
        return scores


class PairSnapshot:
    """A frozen copy of the model; each query's best candidates of the first stage are read by
    themselves, so that no other query can change a bit of their scores.

    Args:
        as_of: what is known of users and items before each time.
    """

    def __init__(self, model: PairRanker, as_of: AsOf, users: Users, catalogue: Catalogue) -> None:
        # what never changes is shared with the model
        movable = set(model.movable)
        kept = [p for name, p in model.named_parameters() if name not in movable]
        shared: list[Any] = [
            *kept,
            model.encoder.body.tokenizer,
            model.encoder.items,
            model.first_stage,
        ]
        self._model = (
            copy.deepcopy(model, {id(part): part for part in shared}).eval().requires_grad_(False)
        )
        self._users, self._catalogue = users, catalogue
        # ties of the first stage at its cut must not be broken by the catalogue's order, which may
        # say something
        self._order: Ints = generator(0, "ties").permutation(len(catalogue)).astype(np.int64)
        self._remember(as_of)

    def _remember(self, as_of: AsOf) -> None:
        self._as_of, self._first = as_of, self._model.first_stage(as_of)

    def remembering(self, as_of: AsOf) -> PairSnapshot:
        """Return the same weights with another memory."""
        other = copy.copy(self)
        other._remember(as_of)
        return other

    def __call__(self, users: Ints, times: Ints) -> Tensor:
        """[Q, N] float32 scores of all items for who asks at each time."""
        first, candidates = self._first(users, times), self._catalogue.mask(users, times)
        history = self._as_of.history(users, times, self._model.head.history)
        place = self._users.place(users)
        known: dict[tuple[int, int], Tensor] = {}
        for q, asked in enumerate(zip(users.tolist(), times.tolist(), strict=True)):
            if asked not in known:  # a chunk is filled up with its last query
                text = self._users.read[place[q]]
                known[asked] = self._rerank(asked[1], text, history[q], first[q], candidates[q])
        return torch.stack(
            [known[asked] for asked in zip(users.tolist(), times.tolist(), strict=True)]
        )

    @torch.no_grad()
    def generate(
        self, time: int, text: str, history: Sequence[int], candidates: Bools, beams: int
    ) -> Tensor:
        """Return [N] float32 scores of the candidates [N] whose texts the model writes itself, -inf
        where it does not come to them; of a head with a causal model alone. Context has its say
        once they are written.

        Args:
            text: typed, "" for none. history: item codes, newest first. beams: how many beginnings
                are followed.
        """
        past = self._past(history)
        found = self._model.encoder.generate(text, past, np.flatnonzero(candidates), beams)
        written, said = (
            np.array(list(found), np.int64),
            torch.tensor(list(found.values()), device=self._model.device),
        )
        scores = torch.full((len(candidates),), -torch.inf)
        scores[torch.from_numpy(written)] = self._fuse(
            self._model.head.read(said), time, past, written
        )
        return scores

    def answer(self, time: int, *, text: str = "", history: Sequence[int] = ()) -> Tensor:
        """Return [N] scores for a typed text and/or a history of item codes, newest first, as of
        ``time``."""
        candidates = self._catalogue.released(np.array([time]))[0]
        if not self._catalogue.repeats:
            candidates[list(history)] = False
        past = self._past(history)
        return self._rerank(
            time, text, past, self._first.answer(time, text=text, history=history), candidates
        )

    def _past(self, history: Sequence[int]) -> Ints:
        """[H] the newest items, -1 where there is none."""
        past = np.full(self._model.head.history, -1, np.int64)
        past[: len(history)] = history[: len(past)]
        return past

    @torch.no_grad()
    def batch(self, batch: ScoringBatch) -> Tensor:
        """Return [B, M] scores of a training batch."""
        scores: Tensor = self._model(batch)
        return scores

    def best(self, first: Tensor, candidates: Bools) -> Ints:
        """Return the codes of the candidates [N] that are read: the best of the first stage's scores
        [N]."""
        order = self._order[candidates[self._order]]
        return order[np.argsort(-first.numpy()[order], kind="stable")[: self._model.head.rerank]]

    @torch.no_grad()
    def logits(self, time: int, text: str, history: Ints, items: Ints) -> Tensor:
        """Return [n] float32 scores of some items for one user at one time, whatever their rank."""
        head = self._model.head
        return self._fuse(
            self._model.read(text, history, items) if head.uses_text else None, time, history, items
        )

    def _fuse(self, text: Tensor | None, time: int, history: Ints, items: Ints) -> Tensor:
        """[n] float32 scores from those of the text [n], for one history [H] and the ``items``
        [n]."""
        head, device = self._model.head, self._model.device
        features = None
        if head.uses_context:
            own = self._as_of.own_features(np.full(len(items), time), items)
            features = aligned(own).to(device)[:, None]
        count = torch.tensor([int((history >= 0).sum())], device=device)
        scores: Tensor = head.fusion(None if text is None else text[None], features, count)
        return scores[0].float().cpu()

    def classify(self, users: Ints, items: Ints, times: Ints) -> Tensor:
        """Return [E] float32 logits of pairs."""
        out = torch.zeros(len(users))
        history = self._as_of.history(users, times, self._model.head.history)
        asked, group = np.unique(np.stack([users, times]), axis=1, return_inverse=True)
        place = self._users.place(asked[0])
        for g, time in enumerate(asked[1].tolist()):
            here = np.flatnonzero(group == g)
            text = self._users.read[place[g]]
            logits = self.logits(time, text, history[here[0]], items[here])
            out[torch.from_numpy(here)] = logits
        return out

    def _rerank(
        self, time: int, text: str, history: Ints, first: Tensor, candidates: Bools
    ) -> Tensor:
        top = self.best(first, candidates)
        return above(first, torch.from_numpy(top), self.logits(time, text, history, top))


def above(first: Tensor, top: Tensor, scores: Tensor) -> Tensor:
    """Return [N] float32: ``scores`` [n] at the items ``top`` [n], and below them all others in the
    order of ``first`` [N], its ties kept.

    >>> above(torch.tensor([0.5, 0.2, 0.9, 0.2]), torch.tensor([2, 0]), torch.tensor([-1.5, 3.0])).tolist()
    [3.0, -5.0, -1.5, -5.0]
    """
    # whole numbers below 2^24: float32 keeps them apart
    values, rank = torch.unique(first, return_inverse=True)
    base = scores.min().floor() if len(scores) else torch.zeros(())
    out: Tensor = base - (len(values) - rank).float()
    out[top] = scores
    return out
