"""The classification report: which pairs are labelled, and the numbers by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from coldlm.asof.catalogue import Catalogue
from coldlm.core.tables import Dataset
from coldlm.evaluate.classify import DRAWN, EXPLICIT, area, labelled_pairs, report

MakeData = Callable[..., Dataset]


def test_precision_recall_and_f1_by_hand() -> None:
    taken = np.array([True, True, True, False, False])
    said = np.array([0.9, 0.5, 0.1, 0.7, 0.49])  # two of three found; one of two false alarms
    no, yes = report(said, taken).rows()
    assert yes == ("taken", pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3), 3)
    assert no == ("not taken", pytest.approx(1 / 2), pytest.approx(1 / 2), pytest.approx(1 / 2), 2)


def test_it_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    rng = np.random.default_rng(0)
    for taken in (rng.random(50) < 0.3, np.zeros(5, bool)):
        said = rng.random(len(taken))
        expected = precision_recall_fscore_support(
            taken, said >= 0.5, labels=[False, True], zero_division=0
        )
        got = report(said, taken).select("precision", "recall", "f1", "support").to_numpy().T
        np.testing.assert_allclose(got, np.array(expected, float))
        if taken.any():
            assert area(said.round(1), taken) == pytest.approx(
                roc_auc_score(taken, said.round(1)), abs=1e-12
            )
        else:
            assert np.isnan(area(said, taken))


def pairs(data: Dataset, asked: list[int]) -> tuple[Any, ...]:
    return labelled_pairs(
        SimpleNamespace(event=np.array(asked)),
        np.arange(len(data.log)),
        data,
        Catalogue(data),  # type: ignore[arg-type]
    )


def test_given_negatives_are_taken_where_there_are_some(make_data: MakeData) -> None:
    data = make_data(
        [(0, 0, 1), (0, 1, 2, False), (1, 2, 3), (1, 3, 4, False)],
        released=dict.fromkeys(range(4), 0),
    )
    users, items, times, kind = pairs(data, [0, 2])
    assert kind == EXPLICIT
    assert (users.tolist(), items.tolist(), times.tolist()) == (
        [0, 1, 0, 1],
        [0, 2, 1, 3],
        [1, 3, 2, 4],
    )
    # half of the positives are asked, so half of the negatives are
    assert len(pairs(data, [0])[1]) == 2


def test_else_one_candidate_is_drawn_for_each_positive(make_data: MakeData) -> None:
    # user 0 takes 0 and 1 in one block, then 2; 4 is not released; so 3 and, at first, 2 are left
    data = make_data([(0, 0, 5), (0, 1, 5), (0, 2, 9)], released={0: 0, 1: 0, 2: 0, 3: 0, 4: 50})
    users, items, times, kind = pairs(data, [0, 1, 2])
    assert kind == DRAWN
    assert items[:3].tolist() == [0, 1, 2]
    assert set(items[3:5].tolist()) <= {2, 3}
    assert items[5] == 3
    assert times.tolist() == [5, 5, 9] * 2
    assert users.tolist() == [0] * 6
    assert pairs(data, [0, 1, 2])[1].tolist() == items.tolist()


def test_a_positive_that_leaves_no_other_candidate_has_no_negative(make_data: MakeData) -> None:
    data = make_data([(0, 0, 5)], released={0: 0})
    assert pairs(data, [0])[1].tolist() == [0]
