"""Test, then train: what is recorded, in which order, and what is undone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.errors import Diverged
from coldlm.core.seeding import torch_seed
from coldlm.core.tables import Dataset, Queries
from coldlm.evaluate.judge import Judged, judge
from coldlm.learn.fit import Fitted
from coldlm.models.backbone import RandomVectors
from coldlm.models.rankers.ranker import Ranker
from coldlm.models.rankers.snapshot import Snapshot
from coldlm.models.towers import Towers
from coldlm.online import loop
from coldlm.split.queries import ask
from coldlm.text.encode import RandomEncoder

MakeData = Callable[..., Dataset]
EDGES = np.array([20, 30, 40, 60])
"""Windows [20, 30), [30, 40) and [40, 60) of the events below."""


class Stream:
    """A toy stream of three windows, and a ranker that scores it; ``calls`` is what happened, in
    order."""

    def __init__(self, make_data: MakeData) -> None:
        events = [
            (0, 0, 5),
            (1, 1, 6),
            (0, 1, 20),
            (1, 2, 25),
            (1, 0, 31),
            (0, 3, 35),
            (0, 2, 45),
            (1, 3, 50),
        ]
        self.data = make_data(events, items=4, released=dict.fromkeys(range(4), 0))
        self.catalogue = Catalogue(self.data)
        enters, half_lives = self.catalogue.enters_at, self.data.half_lives_days
        self.as_of = AsOf(self.data.log, 2, 4, enters, half_lives)
        self.queries: Queries = ask(self.data.log, self.catalogue, np.arange(2, 8), EDGES)
        with torch_seed(0):
            self.ranker = Ranker(
                RandomEncoder(4, RandomVectors(6, 0)), Towers(6, width=4, history=2)
            )
        self.calls: list[str] = []
        self.scorers: list[Snapshot] = []

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.ranker.trainable().items()}

    def snapshot(self) -> Snapshot:
        self.calls.append("snapshot")
        self.scorers.append(Snapshot(self.ranker, self.as_of, self.data.users, 4))
        return self.scorers[-1]

    def run(
        self, update: Callable[[int], Fitted], **keys: Any
    ) -> tuple[list[Judged], list[loop.Update]]:
        def judged(scorer: Any, queries: Queries) -> Judged:
            version = self.scorers.index(scorer)
            self.calls.append(f"score {sorted(set(queries.window.tolist()))} by {version}")
            return judge(scorer, queries, self.data, self.catalogue, name="model")

        def train(window: int) -> Fitted:
            self.calls.append(f"train {window}")
            return update(window)

        given = {
            "probe": lambda scorer, window: float(window),
            "peak_memory_mb": lambda: 7.0,
            **keys,
        }
        first = self.snapshot()
        return loop.run(
            self.ranker,
            self.queries,
            3,
            first=first,
            snapshot=self.snapshot,
            judge=judged,
            update=train,
            **given,
        )

    def move(self, by: float, name: str = "head.scale") -> None:
        with torch.no_grad():
            self.ranker.trainable()[name].add_(by)


@pytest.fixture
def stream(make_data: MakeData) -> Stream:
    return Stream(make_data)


def _same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def _nothing(window: int) -> Fitted:
    return Fitted(examples=2)


def test_each_window_is_scored_before_anything_is_learned_from_it(stream: Stream) -> None:
    judged, _ = stream.run(_nothing)
    assert stream.calls == [
        "snapshot",
        "score [0] by 0",
        "train 0",
        "snapshot",
        "score [1] by 1",
        "train 1",
        "snapshot",
        "score [2] by 2",
    ]
    assert [len(part.g) for part in judged] == [2, 2, 2]


def test_an_update_that_changes_nothing_changes_no_score(stream: Stream) -> None:
    judged, updates = stream.run(_nothing)
    expected = judge(stream.scorers[0], stream.queries, stream.data, stream.catalogue, name="model")
    assert np.concatenate([part.score for part in judged]).tolist() == expected.score.tolist()
    assert np.concatenate([part.g for part in judged]).tolist() == expected.g.tolist()
    assert [update.version for update in updates] == [1, 2]
    assert not any(update.rolled_back for update in updates)


def test_what_is_learned_is_live_from_the_next_window_on(stream: Stream) -> None:
    untouched, _ = stream.run(_nothing)
    judged, _ = stream.run(lambda window: stream.move(1.0) or Fitted(examples=2))
    assert judged[0].score.tolist() == untouched[0].score.tolist()
    assert judged[1].score.tolist() != untouched[1].score.tolist()


def test_a_snapshot_taken_before_an_update_scores_as_before(stream: Stream) -> None:
    first = Snapshot(stream.ranker, stream.as_of, stream.data.users, 4)
    users, times = stream.queries.user, stream.queries.time
    before = first(users, times)
    stream.run(lambda window: stream.move(1.0) or Fitted())
    assert torch.equal(first(users, times), before)
    assert not torch.equal(stream.scorers[-1](users, times), before)


def test_an_update_is_a_row_of_what_it_saw_and_cost(stream: Stream) -> None:
    losses = iter([3.0, 2.0, 5.0, 4.0])
    _, updates = stream.run(
        lambda window: stream.move(1.0) or Fitted(examples=2 + window),
        probe=lambda *_: next(losses),
    )
    rows = [update.row() for update in updates]
    assert [row.pop("seconds") > 0 for row in rows] == [True, True]
    assert rows == [
        {
            "version": 1 + window,
            "window": window,
            "n_events": 2 + window,
            "peak_memory_mb": 7.0,
            "bytes": stream.ranker.trained_bytes,
            "loss_before": before,
            "loss_after": after,
            "rolled_back": False,
        }
        for window, before, after in ((0, 3.0, 2.0), (1, 5.0, 4.0))
    ]


def test_bytes_are_those_of_all_that_trains_however_far_it_moved(stream: Stream) -> None:
    whole = sum(p.numel() for p in stream.ranker.head.parameters())
    stream.ranker.head.project.weight.requires_grad_(False)
    _, updates = stream.run(lambda window: stream.move(1.0, "head.unknown") or Fitted(examples=2))
    assert [update.bytes for update in updates] == [4 * (whole - 4 * 6)] * 2


def test_an_update_that_learned_from_nothing_ships_nothing(stream: Stream) -> None:
    _, updates = stream.run(lambda window: Fitted())
    assert [update.bytes for update in updates] == [0, 0]


def _diverge(stream: Stream) -> Fitted:
    stream.move(9.0)
    raise Diverged("training loss is nan")


def _spoil(stream: Stream) -> Fitted:
    stream.move(9.0, "head.unknown")
    stream.move(math.nan, "head.prior.weight")
    return Fitted(examples=2)


@pytest.mark.parametrize("break_it", [_diverge, _spoil], ids=["diverged", "loss not finite"])
def test_a_failed_update_is_rolled_back_to_the_bit_and_the_version_stays(
    stream: Stream, break_it: Callable[[Stream], Fitted]
) -> None:
    before = stream.weights()

    def update(window: int) -> Fitted:
        if window == 0:
            return break_it(stream)
        assert _same(before, stream.weights())
        stream.move(1.0)
        return Fitted(examples=2)

    def probe(scorer: Snapshot, window: int) -> float:
        return float(scorer(stream.queries.user, stream.queries.time).sum())

    judged, updates = stream.run(update, probe=probe)
    assert [update.rolled_back for update in updates] == [True, False]
    assert [update.version for update in updates] == [0, 1]
    assert updates[0].bytes == 0
    assert updates[1].bytes == stream.ranker.trained_bytes
    assert len(judged) == 3
    users, times = stream.queries.user, stream.queries.time
    assert "score [1] by 0" in stream.calls
    assert not torch.equal(stream.scorers[-1](users, times), stream.scorers[0](users, times))


def test_a_diverged_update_has_no_loss_after(stream: Stream) -> None:
    _, updates = stream.run(lambda window: _diverge(stream))
    assert all(math.isnan(update.loss_after) for update in updates)
    assert [update.n_events for update in updates] == [0, 0]


def test_a_window_without_events_to_learn_from_is_no_failure(stream: Stream) -> None:
    _, updates = stream.run(lambda window: Fitted(), probe=lambda *_: math.nan)
    assert [(update.version, update.rolled_back) for update in updates] == [(1, False), (2, False)]


def test_another_error_is_not_swallowed(stream: Stream) -> None:
    def update(window: int) -> Fitted:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        stream.run(update)
