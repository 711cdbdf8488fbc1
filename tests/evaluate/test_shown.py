"""What lists hold, by hand and in distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.errors import ScoreError
from coldlm.core.tables import Dataset, Ints
from coldlm.data.simulated import load
from coldlm.evaluate.baselines import constant, random
from coldlm.evaluate.judge import ScoreFunction
from coldlm.evaluate.shown import NOWHERE, Lists, describe, show
from coldlm.split.queries import ask

MakeData = Callable[..., Dataset]


def _as_of(data: Dataset) -> AsOf:
    catalogue = Catalogue(data)
    sizes = len(data.users), len(data.items)
    return AsOf(data.log, *sizes, catalogue.enters_at, data.half_lives_days)


def _show(data: Dataset, scorer: ScoreFunction, k: int) -> Lists:
    catalogue = Catalogue(data)
    return show(
        scorer, ask(data.log, catalogue, np.arange(len(data.log))), data, catalogue, k, name="toy"
    )


def _fixed(*row: float) -> ScoreFunction:
    return lambda users, times: torch.tensor(row).expand(len(users), -1)


def test_lists_and_what_they_hold_by_eye(make_data: MakeData) -> None:
    #        user, item, time
    events = [(0, 1, 10), (0, 2, 20), (1, 2, 30)]
    data = make_data(events, released=dict.fromkeys(range(4), 0))
    lists = _show(data, _fixed(3.0, 2.0, 1.0, 0.0), 2)
    # user 0 has had item 1 at time 20
    assert lists.item.tolist() == [[0, 1], [0, 2], [0, 1]]
    assert lists.score.tolist() == [[3, 2], [3, 1], [3, 2]]
    catalogue = Catalogue(data)
    queries = ask(data.log, catalogue, np.arange(3))
    cold = np.array([False, False, True, True])
    words = csr_matrix(np.array([[1.0, 0], [0, 1], [1, 0], [0, 0]]))
    found = describe(lists, queries, catalogue, _as_of(data), 0, cold, words)
    assert found["coverage"] == 3 / 4
    assert found["coverage/cold_item"] == 1 / 2
    assert found["share/cold_item"] == pytest.approx(1 / 6)
    # events so far: none; then one of item 1; then items 1 and 2 have one
    assert found["share/shelf"] == pytest.approx(5 / 6)
    assert found["gini"] == pytest.approx((5 - 2 * (4 * 0 + 3 * 1 + 2 * 2 + 1 * 3) / 6) / 4)
    bits = [np.log2(4)] * 2 + [np.log2(5)] * 2 + [np.log2(6), np.log2(6 / 2)]
    assert found["novelty"] == pytest.approx(np.mean(bits))
    usual = [0, 0, 2 / 4]  # user 0 cannot take item 1 again
    assert found["popularity"] == pytest.approx((1 / 6) / np.mean(usual))
    assert found["diversity"] == pytest.approx((1 + 0 + 1) / 3)


def test_short_catalogues_leave_places_empty_and_count_for_nothing(make_data: MakeData) -> None:
    data = make_data([(0, 1, 10), (0, 2, 20)], released=dict.fromkeys(range(3), 0))
    lists = _show(data, _fixed(0.0, 1.0, 2.0), 5)
    assert lists.item.tolist() == [[2, 1, 0, NOWHERE, NOWHERE], [2, 0, NOWHERE, NOWHERE, NOWHERE]]
    assert lists.there.sum() == 5


@pytest.fixture(scope="module")
def world() -> Dataset:
    return load(users=60, items=200, events=1500)


def test_a_constant_scorer_shows_what_a_random_one_shows(world: Dataset) -> None:
    catalogue, as_of = Catalogue(world), _as_of(world)
    queries = ask(world.log, catalogue, np.arange(len(world.log)))
    cold, words = np.arange(200) > 150, csr_matrix(np.eye(200))
    found = []
    for scorer in (constant(200), random(1, 200, world.users.ids)):
        lists = show(scorer, queries, world, catalogue, 10, name="toy")
        found.append(describe(lists, queries, catalogue, as_of, 4, cold, words))
    for name, value in found[0].items():
        assert value == pytest.approx(found[1][name], rel=0.1), name
    assert found[0]["coverage"] == 1
    assert found[0]["popularity"] == pytest.approx(1, abs=0.05)
    assert found[0]["diversity"] == 1


def test_a_list_depends_on_its_query_alone(world: Dataset) -> None:
    """Whoever else is asked, and in whatever order: the ties' too."""
    catalogue = Catalogue(world)
    queries = ask(world.log, catalogue, np.arange(len(world.log)))
    some = queries.where(np.arange(len(queries)) % 3 == 0)
    table = np.random.default_rng(0).integers(0, 3, (60, 200)).astype(np.float32)
    scorer: ScoreFunction = lambda users, times: torch.from_numpy(table[users])  # noqa: E731
    whole, part = (show(scorer, q, world, catalogue, 10, name="toy") for q in (queries, some))
    assert (part.item == whole.item[::3]).all()


def test_items_permuted_are_lists_permuted(world: Dataset) -> None:
    """Without ties the codes of items mean nothing."""
    catalogue = Catalogue(world)
    queries = ask(world.log, catalogue, np.arange(50))
    table = np.random.default_rng(0).random((60, 200)).astype(np.float32)
    order = np.random.default_rng(1).permutation(200)
    new_code = np.argsort(order)
    items = world.items
    moved = replace(
        world,
        items=replace(
            items,
            ids=tuple(items.ids[i] for i in order),
            titles=tuple(items.titles[i] for i in order),
            texts=tuple(items.texts[i] for i in order),
            released_at=items.released_at[order],
        ),
        log=replace(world.log, item=new_code[world.log.item]),
    )

    def scorer(of: np.ndarray) -> ScoreFunction:
        return lambda users, times: torch.from_numpy(of[users])

    first = show(scorer(table), queries, world, catalogue, 10, name="toy")
    there = Catalogue(moved)
    asked = ask(moved.log, there, np.arange(50))
    second = show(scorer(table[:, order]), asked, moved, there, 10, name="toy")
    assert (order[second.item] == first.item).all()


def test_what_is_not_finite_is_refused(make_data: MakeData) -> None:
    def broken(users: Ints, times: Ints) -> torch.Tensor:
        return torch.full((len(users), 4), torch.nan)

    with pytest.raises(ScoreError, match="must be finite"):
        _show(make_data([(0, 1, 10)], released=dict.fromkeys(range(4), 0)), broken, 2)
