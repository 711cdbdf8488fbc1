"""What a head that reads pairs may re-rank: a scorer of the whole catalogue, as
``head.first_stage`` names it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from coldlm.asof.context import AsOf
from coldlm.config.schema import RunConfig
from coldlm.core.tables import Ints
from coldlm.evaluate import baselines
from coldlm.evaluate.judge import ScoreFunction
from coldlm.experiment.encoder import untrained
from coldlm.experiment.world import World
from coldlm.models.rankers.pairwise import FirstStage
from coldlm.models.rankers.ranker import Ranker
from coldlm.models.rankers.snapshot import Snapshot
from coldlm.models.zero_shot import ZeroShot

FirstStages = Callable[[AsOf], FirstStage]
"""What is known -> the scorer."""


@dataclass(frozen=True)
class _SameForAll:
    """A scorer that does not look at users."""

    scorer: ScoreFunction

    def __call__(self, users: Ints, times: Ints) -> Tensor:
        return self.scorer(users, times)

    def answer(self, time: int, *, text: str = "", history: Sequence[int] = ()) -> Tensor:
        return self.scorer(np.zeros(1, np.int64), np.array([time]))[0]


def make_first_stage(
    config: RunConfig, world: World, name: str, history: int, trained: Callable[[Path, World], Any]
) -> FirstStages:
    """Return the first stage ``name``, a name of ``config.options.FIRST_STAGES`` or the folder of a
    run.

    Args:
        history: items of a user that it looks at.
        trained: (folder, world) -> the two towers that were trained there before T_test.
    """
    if name == "popularity":
        return lambda as_of: _SameForAll(baselines.popularity(as_of))
    if name == "recent_popularity":
        # with torchmetrics behind it, it takes longer to import than to recommend
        from coldlm.experiment.evaluation import Evaluation

        measure = Evaluation(config, world, "").measure
        recent = [measure(baselines.recent_popularity(world.as_of, h), name) for h in range(3)]
        best = int(np.argmax(recent))
        return lambda as_of: _SameForAll(baselines.recent_popularity(as_of, best))
    if name == "tfidf":
        # what is known decides on histories alone; the vocabulary is that of the past in any case
        t_test = world.split.t_test
        return lambda as_of: baselines.TfIdf(world.data, world.catalogue, as_of, history, t_test)
    if name == "zero_shot":
        return zero_shot(config, world, history).remembering
    remembering: FirstStages = trained(Path(name), world).remembering
    return remembering


def zero_shot(config: RunConfig, world: World, history: int) -> Snapshot:
    """Return the cosine of the untouched backbone as a scorer."""
    encoder = untrained(config, world)
    ranker = Ranker(encoder, ZeroShot(encoder.width, history=history)).eval()
    ranker.head.standardise(encoder.all_items()[world.entered_by(world.split.t_test)])
    return Snapshot(ranker, world.as_of, world.data.users, len(world.data.items))
