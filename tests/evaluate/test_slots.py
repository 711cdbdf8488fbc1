"""Lists with places kept for the shelf, against every order of the ties."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

from coldlm.evaluate.slots import hits, kept_places, slot_columns, with_slots


def _by_hand(scores: list[int], shelf: list[bool], positive: int, k: int, s: int) -> float:
    """The share of orders of the ties in which the list holds the positive, made item by item."""
    found = []
    for order in itertools.permutations(range(len(scores))):
        ranked = sorted(order, key=lambda item: -scores[item])  # stable: ties as drawn
        kept = [item for item in ranked if shelf[item]][:s]
        rest = [item for item in ranked if item not in kept][: k - len(kept)]
        found.append(positive in kept + rest)
    return float(np.mean(found))


def _places(scores: list[int], part: list[bool], positive: int) -> tuple[int, int, int]:
    """g, e and the number of candidates of a part, the positive beside it."""
    others = [x for i, x in enumerate(scores) if part[i] and i != positive]
    own = scores[positive]
    return sum(x > own for x in others), 1 + sum(x == own for x in others), len(others) + 1


@pytest.mark.parametrize("seed", range(12))
def test_probabilities_are_those_of_all_orders(seed: int) -> None:
    draw = np.random.default_rng(seed)
    k, n = 4, 6
    scores = draw.integers(0, 1 + seed % 4, n).tolist()
    shelf = (draw.random(n) < 0.5).tolist()
    for positive in range(n):
        g, e, _ = _places(scores, [True] * n, positive)
        shelf_g, shelf_e, _ = _places(scores, shelf, positive)
        row = [np.array([x]) for x in (g, e, shelf_g, shelf_e, sum(shelf))]
        (found,) = hits(*row, np.array([shelf[positive]]), k)
        expected = [_by_hand(scores, shelf, positive, k, s) for s in kept_places(k)]
        assert found == pytest.approx(expected, abs=1e-12)


def _events(rows: list[tuple[int, ...]]) -> pl.DataFrame:
    names = ("g", "e", "shelf_g", "shelf_e", "shelf_candidates", "on_shelf")
    return pl.DataFrame(rows, schema=list(names), orient="row")


def test_no_kept_place_is_plain_recall_and_all_kept_is_the_shelf_alone() -> None:
    events = _events(
        [
            (3, 1, 0, 1, 20, 1),  # on the shelf, first there
            (12, 1, 2, 1, 20, 1),  # out of the list, third on the shelf
            (0, 1, 0, 1, 20, 0),  # the best of all, not on the shelf
            (1, 4, 0, 2, 20, 0),
        ]
    )
    found = with_slots(events, 10)
    assert found["recall/slots0"].to_list() == [1, 0, 1, 1]
    assert found["recall/slots10"].to_list() == [1, 1, 0, 0]
    assert found["recall/slots3"].to_list()[1] == 1
    assert found["recall/slots3/on_shelf"].to_list() == [1, 1, None, None]
    assert set(slot_columns(10)) <= set(found.columns)


def test_a_short_shelf_leaves_its_places_to_others() -> None:
    events = _events([(1, 1, 0, 1, 2, 0)])  # one item on the shelf, the positive beside it
    assert with_slots(events, 3)["recall/slots3"].to_list() == [1.0]


def test_more_kept_places_never_hurt_the_shelf_nor_help_others() -> None:
    draw = np.random.default_rng(0)
    n = 500
    shelf_g, more = draw.integers(0, 12, n), draw.integers(0, 12, n)
    shelf_e, level = draw.integers(1, 5, n), draw.integers(0, 4, n)
    on_shelf = draw.random(n) < 0.5
    found = hits(shelf_g + more, shelf_e + level, shelf_g, shelf_e, np.full(n, 30), on_shelf, 10)
    steps = np.diff(found, axis=1)
    assert (steps[on_shelf] > -1e-12).all()
    assert (steps[~on_shelf] < 1e-12).all()
    assert ((found > -1e-12) & (found < 1 + 1e-12)).all()


def test_a_constant_scorer_fills_the_list_as_random_ones_do() -> None:
    """1,000 items, 100 of them on the shelf, all level: the list is full, and each item is in it as
    often as under scores that are drawn."""
    rows = [(0, 1000, 0, 100, 100, 1), (0, 1000, 0, 101, 101, 0)]
    found = with_slots(_events(rows), 10)
    first = np.random.default_rng(0).hypergeometric(100, 900, 10, 100_000)
    for s in kept_places(10):
        on, off = found[f"recall/slots{s}"].to_list()
        assert 100 * on + 900 * off == pytest.approx(10)
        # items 0 to 99 are on the shelf: s of them at least, and all in the first ten
        assert 100 * on == pytest.approx(np.maximum(first, s).mean(), rel=0.02)
