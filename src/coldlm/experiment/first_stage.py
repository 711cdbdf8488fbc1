"""What a head that reads pairs may re-rank: a scorer of the whole catalogue, as ``head.first_stage`` names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from coldlm.asof.context import AsOf
from coldlm.core.tables import Ints
from coldlm.evaluate import baselines
from coldlm.evaluate.judge import ScoreFunction
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.world import World, untrained
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
    config: Mapping[str, Any], world: World, trained: Callable[[Path, World], Snapshot]
) -> FirstStages:
    """The first stage of ``config``'s head.

    Args:
        trained: (folder, world) -> the two towers that were trained there before T_test.
    """
    name, history = config["head"]["first_stage"], config["head"]["history"]
    if name == "popularity":
        return lambda as_of: _SameForAll(baselines.popularity(as_of))
    if name == "recent_popularity":
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
    return trained(Path(name), world).remembering


def zero_shot(config: Mapping[str, Any], world: World, history: int) -> Snapshot:
    """Cosine of the untouched backbone."""
    encoder = untrained(config, world)
    ranker = Ranker(encoder, ZeroShot(encoder.width, history=history)).eval()
    ranker.head.standardise(encoder.all_items()[world.entered_by(world.split.t_test)])
    return Snapshot(ranker, world.as_of, world.data.users, len(world.data.items))
