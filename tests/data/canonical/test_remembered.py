"""Data that are asked for again while they are in use are the same object, unless anything that they are
made of has changed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coldlm.core.tables import Dataset
from coldlm.data import caixin, movielens, own, simulated
from toys.caixin import write as write_caixin
from toys.movielens import write as write_movielens
from toys.own import EVENTS, ITEMS
from toys.own import write as write_own

SMALL: dict[str, Any] = {"users": 20, "items": 40, "events": 100}
USERS = "user_id,about,town\nu,tea,Oslo\nv,pots,Bern\n"


@pytest.mark.parametrize(
    ("key", "value"),
    {
        "seed": 3, "users": 21, "items": 41, "events": 101, "topics": 3, "text_signal": 0.5, "language": "en",
        "days": 30.0, "new_item_share": 0.2, "drift": 0.9, "popularity": 1.0, "repeats": True,
        "half_lives_days": [1.0, 2.0, 3.0],
    }.items(),
)  # fmt: skip
def test_every_key_of_a_simulated_world_makes_another(key: str, value: object) -> None:
    first = simulated.load(**SMALL)
    assert simulated.load(**SMALL) is first
    other = simulated.load(**SMALL | {key: value})
    assert other is not first
    assert simulated.load(**SMALL) is not other


@pytest.mark.parametrize(
    ("key", "value"),
    {
        "name": "mine", "text": "{brand}", "label": "stars", "positive_from": 2.0, "repeats": True,
        "released_at": "since", "half_lives_days": [1.0, 2.0, 3.0], "item_ttl_days": 1.0, "groups": ["town"],
    }.items(),
)  # fmt: skip
def test_every_key_of_own_data_makes_others(tmp_path: Path, key: str, value: object) -> None:
    events = "user_id,item_id,timestamp,label,stars\nv,b,30,1,3\nu,a,10,2,1\n"
    items = "item_id,title,brand,since\na,Red tea,Oolong House,3\nb,Tea pot,,4\n"
    keys: dict[str, Any] = write_own(tmp_path, items, events, USERS)
    first = own.load(**keys)
    assert own.load(**keys) is first
    assert own.load(**keys | {key: value}) is not first


@pytest.mark.parametrize(
    "changed",
    [
        lambda folder: write_own(folder, ITEMS.replace("Red", "Tin"), EVENTS, USERS),
        lambda folder: write_own(folder, ITEMS, EVENTS.replace("20", "21"), USERS),
        lambda folder: write_own(folder, ITEMS, EVENTS, USERS.replace("Oslo", "Rome")),
    ],
)
def test_files_of_ones_own_that_change_are_read_again(
    tmp_path: Path, changed: Callable[[Path], dict[str, str]]
) -> None:
    keys: dict[str, Any] = write_own(tmp_path, ITEMS, EVENTS, USERS)
    first = own.load(**keys)
    assert changed(tmp_path) == keys
    other = own.load(**keys)
    assert other is not first
    assert other.hashes != first.hashes


@pytest.mark.parametrize(
    ("key", "value"),
    {"text": "{headline}!", "half_lives_days": [1.0, 2.0, 3.0], "item_ttl_days": 0.5}.items(),
)
def test_keys_and_files_of_public_data_make_others(tmp_path: Path, key: str, value: object) -> None:
    keys: dict[str, Any] = {"root": str(write_caixin(tmp_path)), "cache": str(tmp_path / "cache")}
    first = caixin.load(**keys)
    assert caixin.load(**keys) is first
    assert caixin.load(**keys | {key: value}) is not first
    first = caixin.load(**keys)
    (file,) = caixin.find(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"1393631935", b"1393631936"))
    other = caixin.load(**keys)
    assert other.log.time.min() == first.log.time.min() + 1


@pytest.mark.parametrize(
    ("key", "value"),
    {
        "positive_from": 4.5, "text": "{title}", "half_lives_days": [1.0, 2.0, 3.0], "item_ttl_days": 1.0,
    }.items(),
)  # fmt: skip
def test_keys_and_files_of_movielens_make_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    keys: dict[str, Any] = {"root": str(write_movielens(tmp_path, monkeypatch))}
    first = movielens.load(**keys)
    assert movielens.load(**keys) is first
    assert movielens.load(**keys | {key: value}) is not first
    first = movielens.load(**keys)
    file = tmp_path / "ml-latest-small" / "movies.csv"
    file.write_text(file.read_text().replace("Rustom", "Rostom"))
    assert movielens.load(**keys).items.titles[1] == "Rostom"


def test_what_is_shared_cannot_be_written_to_and_ends_with_its_last_user() -> None:
    made: list[Dataset] = [simulated.load(**SMALL)]
    columns = [column for column in vars(made[0].log).values() if column is not None]
    for array in (*columns, made[0].items.released_at):
        assert isinstance(array, np.ndarray)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    name = id(made[0])
    made.clear()
    gc.collect()
    assert not any(isinstance(it, Dataset) and id(it) == name for it in gc.get_objects())
