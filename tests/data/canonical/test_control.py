from __future__ import annotations

import numpy as np

from coldlm.core.tables import Dataset, Items, Users, sorted_log
from coldlm.data.canonical.control import permute_texts


def _data(texts: tuple[str, ...]) -> Dataset:
    one = np.ones(1)
    log = sorted_log(np.array([0]), np.array([0]), np.array([5]), one, one > 0)
    items = Items(
        tuple(f"i{i}" for i in range(len(texts))), texts, texts, np.zeros(len(texts), np.int64)
    )
    return Dataset("toy", "toy", items, Users(("u",), ("",)), log, False, "field", (1.0, 2.0, 3.0))


def test_every_text_moves_to_another_item_and_none_is_lost() -> None:
    data = _data(tuple("abcdefg"))
    for seed in range(5):
        texts = permute_texts(data, seed).items.texts
        assert sorted(texts) == list("abcdefg")
        assert all(new != old for new, old in zip(texts, data.items.texts, strict=True))


def test_titles_events_and_the_input_stay() -> None:
    data = _data(tuple("abc"))
    permuted = permute_texts(data, 0)
    assert (permuted.items.titles, permuted.items.ids) == (data.items.titles, data.items.ids)
    assert permuted.log is data.log
    assert data.items.texts == tuple("abc")


def test_seed_decides() -> None:
    data = _data(tuple("abcdefghijklmnop"))
    assert permute_texts(data, 1).items.texts == permute_texts(data, 1).items.texts
    assert permute_texts(data, 1).items.texts != permute_texts(data, 2).items.texts


def test_a_single_item_keeps_its_text() -> None:
    assert permute_texts(_data(("a",)), 0).items.texts == ("a",)
