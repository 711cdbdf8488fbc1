"""Where the texts say nothing, reading them is worth nothing; where they say everything, it is
worth much.

Cold items, without context, in worlds whose truth is known. A run per world, since what users of
one world see of a few cold items is not independent: one lucky item lifts them all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from coldlm.config.schema import RunConfig
from coldlm.core.columns import MODEL
from coldlm.evaluate import baselines
from coldlm.evaluate.judge import Judged, ScoreFunction
from coldlm.experiment.baselines import JudgedBaselines
from coldlm.experiment.run import execute
from coldlm.experiment.world import World
from coldlm.report.statistics import estimate

MakeConfig = Callable[..., RunConfig]

WORLDS = (0, 1, 2)
READER = (
    "head.context=off",
    "backbone.layers=1",
    "backbone.width=64",
    "backbone.max_tokens=160",  # bytes: three for each Chinese character
    "dataset.language=zh",
    "dataset.users=150",
    "dataset.items=300",
    "dataset.events=3000",
    "dataset.drift=0",
    "optim.lr=1e-2",
    "train.epochs=3",
    "train.patience=3",
    "train.batch_size=128",
    "train.refit=false",
    "stages=[train,evaluate]",
    "evaluate.latency_requests=0",
)
"""A frozen random transformer over bytes keeps enough of which characters a text holds for a head
to learn from."""


@pytest.fixture
def measure(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> Callable[[float], tuple[NDArray[Any], float]]:
    """``text_signal`` -> nDCG@10 on cold items of every user of every world, and what chance is
    worth there."""

    def constant_alone(
        kept: JudgedBaselines,
        config: object,
        world: World,
        history: int,
        measure: object,
        judge: Callable[[ScoreFunction, str], Judged],
    ) -> None:
        kept.rows = {"constant": judge(baselines.constant(len(world.data.items)), "constant")}

    monkeypatch.setattr("coldlm.experiment.stages.evaluate.judge_baselines", constant_alone)

    def users(folder: Path) -> pl.DataFrame:
        found = pl.read_parquet(folder / "per_user.parquet")
        return found.filter(cohort="cold_item_any", metric="ndcg", schedule="history")

    def measure(signal: float) -> tuple[NDArray[Any], float]:
        everyone = pl.concat(
            users(
                execute(
                    config(
                        *READER, f"dataset.text_signal={signal}", f"dataset.seed={w}", f"seed={w}"
                    ),
                    f"{w}",
                )
            )
            for w in WORLDS
        )
        values = everyone.filter(scorer=MODEL)["value"].to_numpy()
        assert len(values) > 100
        return values, float(np.mean(everyone.filter(scorer="constant")["value"].to_numpy()))

    return measure


@pytest.mark.long
@pytest.mark.slow
def test_texts_without_signal_are_worth_what_chance_is_worth(
    measure: Callable[[float], tuple[NDArray[Any], float]],
) -> None:
    values, chance = measure(0.0)  # .013 [.003, .028] against .017
    found = estimate(values[None])
    assert found.low <= chance <= found.high


@pytest.mark.slow
def test_texts_with_signal_are_worth_more_than_twice_chance(
    measure: Callable[[float], tuple[NDArray[Any], float]],
) -> None:
    values, chance = measure(1.0)  # .247 [.199, .297] against .017
    assert estimate(values[None]).low > 2 * chance
