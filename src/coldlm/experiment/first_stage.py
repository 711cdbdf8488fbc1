"""What a head that reads pairs may re-rank: a scorer of the whole catalogue, as
``head.first_stage`` names it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.config.schema import RunConfig
from coldlm.core.tables import Bools, Ints
from coldlm.evaluate import baselines
from coldlm.evaluate.judge import ScoreFunction
from coldlm.experiment.encoder import untrained
from coldlm.experiment.world import World
from coldlm.models.rankers.pairwise import FirstStage
from coldlm.models.rankers.ranker import Ranker
from coldlm.models.rankers.snapshot import Snapshot
from coldlm.models.zero_shot import ZeroShot
from coldlm.rivals.fusion import ranks

FirstStages = Callable[[AsOf], FirstStage]
"""What is known -> the scorer."""


SHARES = (4.0, 1.0, 1.0)
"""Of the places of a mixed first stage, in this proportion: what is popular just now, what matches in words
and, on the shelf, what is new."""

TYPED = (1.0, 2.0, 1.0)
"""The same where somebody typed what they are looking for."""


@dataclass(frozen=True)
class _SameForAll:
    """A scorer that does not look at users."""

    scorer: ScoreFunction

    def __call__(self, users: Ints, times: Ints) -> Tensor:
        return self.scorer(users, times)

    def answer(self, time: int, *, text: str = "", history: Sequence[int] = ()) -> Tensor:
        return self.scorer(np.zeros(1, np.int64), np.array([time]))[0]


@dataclass(frozen=True)
class _Mixed:
    """Three lists zipped together, so that the best of each are among the best of all: recent
    popularity; the match of words (TF-IDF) with what was typed, else with profile and history; and the
    items with up to ``shelf`` events, by that match and then the newest. Items that are in no list's
    front, or not there yet, are behind."""

    popular: ScoreFunction
    words: baselines.TfIdf
    as_of: AsOf
    catalogue: Catalogue
    n_users: int
    shelf: int

    def __call__(self, users: Ints, times: Ints) -> Tensor:
        return self._zip(self.words(users, times), times, users >= self.n_users)

    def answer(self, time: int, *, text: str = "", history: Sequence[int] = ()) -> Tensor:
        match = self.words.answer(time, text=text, history=history)
        return self._zip(match[None], np.array([time]), np.array([bool(text)]))[0]

    def _zip(self, match: Tensor, times: Ints, typed: Bools) -> Tensor:
        """[Q, N] minus the place in which each item comes first in one of the lists, counted in shares.

        Args:
            match: [Q, N]. typed: [Q].
        """
        there, nobody = self.catalogue.released(times), np.zeros(len(times), np.int64)
        words = ranks(match.double().numpy(), there)
        # of items that match alike, if in nothing, the newest
        age = ranks(self.catalogue.enters_at[None].astype(np.float64), there) / (4 * there.shape[1])
        on_shelf = there & (self.as_of.counts(times) <= self.shelf)
        popular = ranks(self.popular(nobody, times).double().numpy(), there)
        lists = (popular, words, ranks(-words - age, on_shelf))
        shares = np.where(typed[:, None], TYPED, SHARES)
        first = np.min(
            [own / share[:, None] for own, share in zip(lists, shares.T, strict=True)], 0
        )
        return -torch.from_numpy(first.astype(np.float32))


def make_first_stage(
    config: RunConfig, world: World, name: str, history: int, trained: Callable[[Path, World], Any]
) -> FirstStages:
    """Return the first stage ``name``, a name of ``config.options.FIRST_STAGES`` or the folder of a
    run.

    Args:
        history: items of a user that it looks at.
        trained: (folder, world) -> the two towers that were trained there before T_test.
    """
    data, catalogue, t_test = world.data, world.catalogue, world.split.t_test
    if name == "popularity":
        return lambda as_of: _SameForAll(baselines.popularity(as_of))
    if name == "recent_popularity":
        best = _half_life(config, world)
        return lambda as_of: _SameForAll(baselines.recent_popularity(as_of, best))
    # what is known decides on histories alone; the vocabulary is that of the past in any case
    if name == "tfidf":
        return baselines.TfIdf(data, catalogue, world.as_of, history, t_test).remembering
    if name == "mixed":
        best, n_users, shelf = _half_life(config, world), len(data.users), config.evaluate.shelf
        words = baselines.TfIdf(data, catalogue, world.as_of, history, t_test, query_alone=True)

        def mixed(as_of: AsOf) -> FirstStage:
            popular = baselines.recent_popularity(as_of, best)
            return _Mixed(popular, words.remembering(as_of), as_of, catalogue, n_users, shelf)

        return mixed
    if name == "zero_shot":
        return zero_shot(config, world, history).remembering
    remembering: FirstStages = trained(Path(name), world).remembering
    return remembering


def _half_life(config: RunConfig, world: World) -> int:
    """Of recent popularity, 0, 1 or 2, as validation has it."""
    # with torchmetrics behind it, it takes longer to import than to recommend
    from coldlm.experiment.evaluation import Evaluation

    measure, name = Evaluation(config, world, "").measure, "recent_popularity"
    return int(
        np.argmax([measure(baselines.recent_popularity(world.as_of, h), name) for h in range(3)])
    )


def zero_shot(config: RunConfig, world: World, history: int) -> Snapshot:
    """Return the cosine of the untouched backbone as a scorer."""
    encoder = untrained(config, world)
    ranker = Ranker(encoder, ZeroShot(encoder.width, history=history)).eval()
    ranker.head.standardise(encoder.all_items()[world.entered_by(world.split.t_test)])
    return Snapshot(ranker, world.as_of, world.data.users, len(world.data.items))
