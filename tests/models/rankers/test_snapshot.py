"""What is live between two updates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.errors import ScoreError
from coldlm.core.seeding import torch_seed
from coldlm.core.tables import Dataset
from coldlm.models import strategy
from coldlm.models.backbone import tiny
from coldlm.models.rankers import snapshot
from coldlm.models.rankers.ranker import Ranker
from coldlm.models.rankers.snapshot import Snapshot
from coldlm.models.towers import Towers
from coldlm.text.encode import TextEncoder

MakeData = Callable[..., Dataset]
H = 2
USERS, TIMES = np.array([0, 1, 2, 0]), np.array([35, 35, 35, 15])


@pytest.fixture
def data(make_data: MakeData) -> Dataset:
    """User 0 takes items 0, 1, 2 at 10, 20, 30; user 1 item 3 at 12; user 2 nothing, but has a
    profile."""
    return make_data(
        [(0, 0, 10), (1, 3, 12), (0, 1, 20), (0, 2, 30)],
        users=3,
        items=5,
        texts=["space", "moon", "sea", "大海", "star"],
        profiles=["", "", "likes the sea"],
    )


def _as_of(data: Dataset, rows: int = 4) -> AsOf:
    enters = Catalogue(data).enters_at
    return AsOf(
        data.log.rows(slice(rows)), len(data.users), len(data.items), enters, data.half_lives_days
    )


def _ranker(data: Dataset, name: str = "top", **keys: object) -> Ranker:
    body = getattr(strategy, name)(tiny(family="bert", width=16))
    with torch_seed(0):
        head = Towers(16, **{"width": 8, "history": H, **keys})
        with torch.no_grad():
            for p in head.parameters():
                p.normal_()
    return Ranker(TextEncoder(body, data.items.texts, np.arange(5)), head)


def _take(ranker: Ranker, data: Dataset, rows: int = 4) -> Snapshot:
    return Snapshot(ranker, _as_of(data, rows), data.users, len(data.items))


@pytest.mark.parametrize("keys", [{}, {"user": "transformer", "fusion": "gate"}])
def test_scores_come_from_history_profile_and_context_before_each_time(
    data: Dataset, keys: dict[str, str]
) -> None:
    ranker = _ranker(data, **keys)
    snapshot = _take(ranker, data)
    scores = snapshot(USERS, TIMES)
    assert scores.shape == (4, 5)
    assert scores.dtype == torch.float32
    features = torch.from_numpy(_as_of(data).features(TIMES, np.arange(5)))
    vectors, head = ranker.item_vectors(), ranker.head
    assert vectors is not None
    side = head.items(vectors.vectors)
    profile, _ = ranker.read(["likes the sea"], torch.tensor([0]))
    for q, (past, has_text) in enumerate((([2, 1], False), ([3], False), ([], True), ([0], False))):
        rows = torch.zeros(1, H, 8)
        rows[0, : len(past)] = side.vector[past]
        known = torch.tensor([[h < len(past) for h in range(H)]])
        user = head.users(rows, known, profile, torch.tensor([has_text]))
        expected = head.score(user, side, features[:, q : q + 1])[0].detach()
        torch.testing.assert_close(scores[q], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["frozen", "top", "full", "lora"])
def test_later_training_cannot_change_a_bit_of_a_snapshot(data: Dataset, name: str) -> None:
    ranker = _ranker(data, name)
    snapshot = _take(ranker, data)
    before = snapshot(USERS, TIMES)
    with torch.no_grad():
        for p in ranker.trainable().values():
            p.mul_(1.5)
    ranker.train()
    assert torch.equal(snapshot(USERS, TIMES), before)
    assert not torch.allclose(_take(ranker, data)(USERS, TIMES), before)


def test_taking_a_snapshot_changes_no_weight_and_leaves_eval_mode(data: Dataset) -> None:
    ranker = _ranker(data).train()
    before = {name: tensor.clone() for name, tensor in ranker.trainable().items()}
    _take(ranker, data)
    assert not ranker.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in ranker.trainable().items())
    assert all(p.requires_grad for p in ranker.head.parameters())


def test_a_typed_history_scores_as_the_same_history_from_the_log(data: Dataset) -> None:
    snapshot = _take(_ranker(data), data)
    torch.testing.assert_close(snapshot.answer(35, history=[2, 1, 0]), snapshot(USERS, TIMES)[0])


def test_a_typed_text_scores_as_the_same_profile(data: Dataset) -> None:
    snapshot = _take(_ranker(data), data)
    torch.testing.assert_close(snapshot.answer(35, text="likes the sea"), snapshot(USERS, TIMES)[2])
    assert not torch.allclose(snapshot.answer(35, text="space"), snapshot.answer(35, text="大海"))
    assert torch.isfinite(snapshot.answer(35)).all()


def test_another_memory_changes_histories_and_counts_but_not_the_weights(data: Dataset) -> None:
    ranker = _ranker(data)
    snapshot, shorter = _take(ranker, data), _take(ranker, data, rows=2)
    remembering = snapshot.remembering(_as_of(data, rows=2))
    assert torch.equal(remembering(USERS, TIMES), shorter(USERS, TIMES))
    assert torch.equal(snapshot(USERS, TIMES), _take(ranker, data)(USERS, TIMES))
    assert not torch.equal(remembering(USERS, TIMES), snapshot(USERS, TIMES))


def test_the_context_only_control_reads_no_text(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = _ranker(data, context="only")
    for method in ("items", "all_items", "texts"):
        monkeypatch.setattr(ranker.encoder, method, lambda *_: pytest.fail("no text is needed"))
    snapshot = _take(ranker, data)
    features = torch.from_numpy(_as_of(data).features(TIMES, np.arange(5)))
    torch.testing.assert_close(
        snapshot(USERS, TIMES), ranker.head.score(None, None, features).detach()
    )
    assert torch.equal(snapshot(USERS[:1], TIMES[:1]), snapshot(USERS[1:2], TIMES[1:2]))
    assert snapshot.answer(35, text="space").shape == (5,)


def test_text_only_scores_need_no_context(data: Dataset) -> None:
    snapshot = _take(_ranker(data, context="off"), data)
    assert torch.equal(snapshot(USERS[:1], TIMES[:1]), snapshot(USERS[:1], TIMES[:1] + 100))


def test_vectors_of_users_are_what_their_scores_are_made_of(data: Dataset) -> None:
    snapshot = _take(_ranker(data, context="off"), data)
    vectors = snapshot.user_vectors(USERS, TIMES)
    assert vectors.dtype == np.float64
    assert vectors.shape == (4, 8)
    assert not np.array_equal(vectors[0], vectors[3])  # one user at two times
    only = _take(_ranker(data, context="only"), data)
    assert only.user_vectors(USERS, TIMES).shape == (4, 0)


def test_texts_are_not_read_by_other_weights_than_the_items_were(data: Dataset) -> None:
    ranker = _ranker(data)
    snapshot = _take(ranker, data)
    held = {name: tensor.clone() for name, tensor in ranker.trainable().items()}
    expected = snapshot.answer(35, text="space")
    with torch.no_grad():
        next(ranker.head.parameters()).add_(1)
    with pytest.raises(ScoreError, match="other weights than this version's item vectors"):
        snapshot.answer(35, text="space")
    assert torch.isfinite(snapshot.answer(35, history=[0])).all()  # reads none
    ranker.restore(held)  # as after an update that was rolled back
    assert torch.equal(snapshot.answer(35, text="space"), expected)


def test_sides_of_a_large_catalogue_are_made_in_parts(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = _ranker(data, delta=0.5)
    whole = _take(ranker, data)(USERS, TIMES)
    sizes = []
    honest = ranker.head.items
    monkeypatch.setattr(
        ranker.head, "items", lambda vectors: sizes.append(len(vectors)) or honest(vectors)
    )
    monkeypatch.setattr(snapshot, "AT_ONCE", 2)
    torch.testing.assert_close(_take(ranker, data)(USERS, TIMES), whole, rtol=1e-5, atol=1e-5)
    assert sizes[:3] == [2, 2, 1]
