"""One immutable version of a run's model with what is known at its time: what answers a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldlm.core.tables import Bools, Ints
from coldlm.experiment.model import grown_ranker, take_snapshot
from coldlm.experiment.world import World
from coldlm.models.rankers.pairwise import PairSnapshot
from coldlm.models.rankers.ranker import Model, Scorer
from coldlm.models.rankers.snapshot import Snapshot
from coldlm.text.tokens import tokenize


class Place(NamedTuple):
    """One place of a list. ``rank``: among all candidates, from 1. ``n``: events of the item so far.
    ``text``, ``context``: what its text and what counts, recency and age add to the score; None for
    what the head does not use."""

    code: int
    rank: int
    score: float
    n: int
    text: float | None = None
    context: float | None = None


class Question(NamedTuple):
    """Who asks at the second ``time``: a typed ``text`` ("": none), the ``user``'s code (None: nobody of
    the data), item codes of a ``history``, newest first, where there is no user."""

    time: int
    text: str = ""
    user: int | None = None
    history: Sequence[int] = ()


@dataclass(frozen=True)
class Version:
    """``number``: of the version. ``ranker``: of these weights, which nothing trains on. ``users``: as
    many the scorer has profiles of."""

    number: int
    world: World
    ranker: Model
    scorer: Scorer
    users: int

    @staticmethod
    def of(number: int, world: World, ranker: Model, before: Scorer | None = None) -> Version:
        """Return the version of a ranker's weights; ``before`` as for ``take_snapshot``."""
        scorer = take_snapshot(ranker, world, before)
        return Version(number, world, ranker, scorer, len(world.data.users))

    def knowing(self, world: World) -> Version:
        """Return the same weights over a world that has grown (two towers alone)."""
        if len(world.catalogue) > len(self.world.catalogue):
            ranker = grown_ranker(self.ranker, self.world, world)
            return Version.of(self.number, world, ranker, self.scorer)
        return replace(self, world=world, scorer=self.scorer.remembering(world.as_of))

    def score(self, asked: Question, beams: int | None = None) -> tuple[Tensor, Bools]:
        """Return [N] scores, and [N] which items may be recommended; with ``beams``, of what a causal
        model wrote."""
        world, (now, text, who, codes) = self.world, asked
        users, times = np.array([] if who is None else [who], np.int64), np.array([now])
        if who is None:
            candidates = world.catalogue.released(times)[0]
            if not world.data.repeats:
                candidates[list(codes)] = False
        else:
            candidates = world.catalogue.mask(users, times)[0]
            if not text and beams is None and who < self.users:
                return self.scorer(users, times)[0], candidates
            text, codes = self._said(asked)
        if beams is None:
            return self.scorer.answer(now, text=text, history=codes), candidates
        scores = cast("PairSnapshot", self.scorer).generate(now, text, codes, candidates, beams)
        return scores, candidates & np.isfinite(scores.numpy())

    def recommend(
        self, asked: Question, k: int, slots: int = 0, shelf: int = 0, also: Sequence[int] = ()
    ) -> tuple[list[Place], list[Place]]:
        """Return the best ``k`` candidates, best first, with what makes their scores up, and those of the
        items ``also`` that are candidates, wherever they stand (two towers alone).

        Args:
            slots: places that are kept for the best of the shelf (``evaluate.slots``): items with at
                most ``shelf`` events.
        """
        scores, candidates = self.score(asked)
        listed = best(scores, candidates, k)
        if slots:
            n = self.world.as_of.n_item(np.arange(len(candidates)), np.array(asked.time))
            kept = best(scores, candidates & (n <= shelf), slots)
            others = listed[~np.isin(listed, kept)][: k - len(kept)]
            both = np.isin(np.arange(len(candidates)), np.concatenate([kept, others]))
            listed = best(scores, both)
        told = [code for code in also if candidates[code]]
        codes = np.concatenate([listed, np.array(told, np.int64)])
        text, history = self._said(asked)
        snapshot = cast("Snapshot", self.scorer)
        parts = snapshot.shares(asked.time, codes, text=text, history=history)
        added = [[None] * len(codes) if part is None else part.tolist() for part in parts]
        n = self.world.as_of.n_item(codes, np.array(asked.time))
        values = scores[torch.from_numpy(codes)].tolist()
        ranks = _ranks(scores.numpy(), candidates, codes).tolist()
        rows = zip(codes.tolist(), ranks, values, n.tolist(), *added, strict=True)
        places = [Place(*row) for row in rows]
        return places[: len(listed)], places[len(listed) :]

    def _said(self, asked: Question) -> tuple[str, Sequence[int]]:
        """The text and the history that the head reads: a typed text takes the place of the profile."""
        if asked.user is None:
            return asked.text, asked.history
        users, times, length = (
            np.array([asked.user]),
            np.array([asked.time]),
            self.ranker.head.history,
        )
        past = self.world.as_of.history(users, times, length)[0]
        return asked.text or self.world.data.users.texts[asked.user], past[past >= 0].tolist()


def best(scores: Tensor, candidates: Bools, most: int | None = None) -> Ints:
    """Return the codes of the candidates, ``most`` of them if it is given, best first; equal scores in
    catalogue order."""
    codes, values = np.flatnonzero(candidates), scores.numpy()
    if most is not None and most < len(codes):
        own = values[codes]
        codes = codes[own >= np.partition(own, len(own) - most)[len(own) - most]]
    order: Ints = codes[np.argsort(-values[codes], kind="stable")][:most]
    return order


def _ranks(values: NDArray[np.float32], candidates: Bools, codes: Ints) -> Ints:
    """[n] the places of some candidates among all, from 1, as ``best`` orders them."""
    every = np.flatnonzero(candidates)
    own, its = values[every], values[codes][:, None]
    ahead = (own > its) | ((own == its) & (every < codes[:, None]))
    ranks: Ints = ahead.sum(1) + 1
    return ranks


def unknown_share(ranker: Model, text: str) -> float:
    """Return the share of a text's tokens that the backbone's tokenizer does not know."""
    body = ranker.encoder.body
    if not text:
        return 0.0
    return tokenize([text], body.tokenizer, body.max_tokens, causal=body.causal).unknown
