from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.dated import DatedField
from coldlm.data.canonical.reader import Reader, with_defaults_of


def read(files: Sequence[Path]) -> Tables:
    """Two users take the one item, whose title is what the file holds; one gives it a tag."""
    events = pl.DataFrame(
        {"user_id": ["u", "v"], "item_id": ["i", "i"], "timestamp": [10, 20], "label": [1.0, 4.0]},
    )
    tags = pl.DataFrame({"item_id": ["i"], "timestamp": [15], "field": ["tags"], "value": ["frog"]})
    return assemble(
        events, pl.DataFrame({"item_id": ["i"], "title": [files[0].read_text()]}), dated=tags
    )


READER = Reader(
    name="toy",
    domain="video",
    version=1,
    fields=("title", "tags"),
    title="title",
    find=lambda root: [file for file in [root / "toy.txt"] if file.is_file()],
    read=read,
    wanted="toy.txt",
    ways="Write it",
    banned={"stars": "a mean"},
    dated={"tags": DatedField()},
)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "toy.txt").write_text("Frogs")
    return {
        "root": str(tmp_path),
        "text": "{title}",
        "half_lives_days": [1.0, 7.0, 30.0],
        "item_ttl_days": None,
        "cache": str(tmp_path / "cache"),
    }


def test_a_data_set_that_is_there_has_no_problem(keys: dict[str, Any]) -> None:
    assert READER.problems(**keys) == []


def test_a_data_set_that_is_not_there_is_one_problem_with_its_ways(
    keys: dict[str, Any], tmp_path: Path
) -> None:
    [problem] = READER.problems(**{**keys, "root": None})
    assert problem == "toy: neither COLDLM_DATA nor dataset.root names a folder. Write it"
    [problem] = READER.problems(**{**keys, "root": str(tmp_path / "x")})
    assert problem == f"dataset.root={tmp_path / 'x'}: holds no toy.txt. Write it"


def test_all_problems_come_together_and_refuse_the_load(keys: dict[str, Any]) -> None:
    def further(text: str, root: Path | None) -> list[str]:
        return [f"more of {text} in {root}"]

    keys |= {"root": None, "text": "{stars}", "half_lives_days": [1.0], "item_ttl_days": 0.0}
    reader = replace(READER, further=further)
    found = reader.problems(**keys)
    assert [problem.split()[0] for problem in found] == [
        "dataset.text='{stars}':", "dataset.half_lives_days=[1.0]:", "dataset.item_ttl_days=0.0:", "toy:", "more",
    ]  # fmt: skip
    assert found[-1] == "more of {stars} in None"
    with pytest.raises(DataError) as error:
        reader.load(**keys)
    assert str(error.value) == "\n".join(found)


def test_a_reader_that_says_itself_what_is_missing_is_not_asked_for_its_files(
    keys: dict[str, Any],
) -> None:
    assert replace(READER, wanted="", find=lambda root: []).problems(**keys) == []


def test_what_the_reader_says_of_its_data_set_is_in_it(keys: dict[str, Any]) -> None:
    data = replace(READER, repeats=True).load(**keys)
    assert (data.name, data.domain, data.repeats, data.release) == (
        "toy",
        "video",
        True,
        "after_first",
    )
    assert (data.items.titles, data.items.texts, list(data.hashes)) == (
        ("Frogs",),
        ("Frogs",),
        ["toy.txt"],
    )
    assert data.half_lives_days == (1.0, 7.0, 30.0)
    assert data.log.positive.all()
    assert READER.load(**keys, positive_from=4.0).log.positive.tolist() == [False, True]


def test_texts_change_only_if_a_field_that_does_is_in_the_template(keys: dict[str, Any]) -> None:
    assert READER.load(**keys).texts_as_of is None
    assert READER.load(**{**keys, "text": "{title} {tags}"}).texts_as_of is not None
    assert replace(READER, title="tags").load(**keys).texts_as_of is not None


def test_tables_are_kept_under_the_name(keys: dict[str, Any], tmp_path: Path) -> None:
    for name in ("toy_small", "toy_large", "toy_small"):
        replace(READER, name=name).load(**keys)
    kept = [
        path.name.rpartition("-")[0]
        for path in (tmp_path / "cache" / "prepared").iterdir()
        if path.is_dir()
    ]
    assert sorted(kept) == ["toy_large", "toy_small"]


def test_keys_that_are_left_out_are_those_of_load() -> None:
    def load(*, root: str | None = None, size: int = 3) -> Dataset:
        raise NotImplementedError

    @with_defaults_of(load)
    def problems(*, root: str | None, size: int, **others: object) -> list[str]:
        return [f"{root} {size} {sorted(others)}"]

    assert (problems(), problems(root="x", size=4, other=1)) == (["None 3 []"], ["x 4 ['other']"])
