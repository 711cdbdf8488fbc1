from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest

from coldlm.core.errors import DataError
from coldlm.data import movielens_editions
from coldlm.data.movielens_editions import EDITIONS, find, load, problems, read
from toys.movielens_editions import CSV, FILES, Csv, write

DATA = Path(os.environ.get("COLDLM_DATA") or "no data")
needs_files = pytest.mark.skipif(
    not (DATA / "ml-latest-small").is_dir(), reason="ml-latest-small is not there"
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write(tmp_path, monkeypatch)


@pytest.mark.parametrize("edition", CSV)
def test_the_tables_of_the_csv_editions(root: Path, edition: Csv) -> None:
    tables = read(find(root, edition), edition)
    assert tables.items.rows() == [
        ("7", "Nobody's", "Drama", "1950", -631_152_000),
        ("8", "Babylon 5", "Sci-Fi", "", None),
        ("9", "11'09\"01", "", "2002", 1_009_843_200),
        ("10", "The Princess and the Frog", "Animation, Children", "2009", 1_230_768_000),
    ]
    assert tables.users.rows() == [("2",), ("10",)]  # numeric order
    assert tables.interactions.rows() == [
        (0, 2, 1000, 0.5, 1),
        (1, 1, 1000, 5.0, 3),
        (0, 3, 1_262_304_000, 4.0, 0),
        (1, 3, 1_262_304_001, 3.5, 2),
    ]
    assert tables.dated.rows()[:2] == [(3, 100, "tags", "frog"), (3, 200, "tags", "Disney")]
    assert (1, 50, "tags", 'a, "b"') in tables.dated.rows()
    assert len(tables.impressions) == 0
    assert tables.counts == {
        "empty_tags": 1,
        "dated_values_of_unknown_items": 1,
        "items_without_metadata": 0,
    }


def test_the_tables_of_100k(root: Path) -> None:
    tables = read(find(root, "100k"), "100k")
    assert tables.items.rows() == [
        ("1", "Les Misérables", "Action", "1995", 788_918_400),
        ("2", "", "", "", None),
        ("3", 'Chasing "Amy"', "Thriller, Western", "1997", 886_550_400),  # 4 February 1998
    ]
    assert tables.users.rows() == [("1", "man", "24", "technician"), ("2", "woman", "53", "")]
    assert tables.interactions.rows() == [
        (1, 2, 881_250_948, 1.0, 1),
        (0, 1, 881_250_948, 5.0, 2),
        (1, 0, 881_250_949, 4.0, 0),
    ]
    assert tables.counts == {"users_without_profile": 0, "items_without_metadata": 0}


def test_the_tables_of_1m(root: Path) -> None:
    tables = read(find(root, "1m"), "1m")
    assert tables.items.rows() == [
        ("1", "Les Misérables", "Drama, Musical", "1995", 788_918_400),
        ("3", "Star Wars: Episode IV - A New Hope", "Sci-Fi", "1977", 220_924_800),
    ]
    assert tables.users.rows() == [
        ("1", "woman", "under 18", "K-12 student"),
        ("2", "man", "56 or older", ""),
    ]
    assert tables.interactions["event_id"].to_list() == [1, 2, 0]


def test_profiles_and_tags_may_be_missing(root: Path) -> None:
    (root / "ml-1m" / "users.dat").write_text("2::M::56::0::70072\n9::M::56::0::70072\n")
    assert read(find(root, "1m"), "1m").counts["users_without_profile"] == 1
    for file in ("ml-1m/users.dat", "ml-100k/u.user", "ml-25m/tags.csv"):
        (root / file).unlink()
    for edition in ("1m", "100k", "25m"):
        tables = read(find(root, edition), edition)  # type: ignore[arg-type]
        assert tables.users.columns == ["user_id"]
        assert len(tables.dated) == 0
    [problem] = problems(edition="25m", root=str(root), text="{title} | {tags}")
    assert "holds no tags.csv; add it, or remove {tags}" in problem


def test_tags_show_from_their_time_on_the_most_frequent_first(root: Path, tmp_path: Path) -> None:
    data = load(
        edition="25m", root=str(root), text="{title} | {tags}", cache=str(tmp_path / "cache")
    )
    frog = data.items.ids.index("10")

    def at(time: int) -> str:
        return (
            data.with_texts_as_of(*[np.full(4, time)] * 2)
            .items.texts[frog]
            .removeprefix("The Princess and the Frog")
        )

    assert data.items.texts[frog] == "The Princess and the Frog"
    assert [at(time) for time in (100, 101, 300, 301)] == [
        "",
        " | frog",
        " | frog, Disney",
        " | Disney, frog",
    ]
    assert at(10**9) == " | Disney, frog, c, d, e"  # five
    assert data.with_texts_as_of(*[np.full(4, 301)] * 2).text_known_at is not None


def test_texts_without_tags_do_not_change(root: Path, tmp_path: Path) -> None:
    data = load(
        edition="25m",
        root=str(root),
        text="{title} ({year}) | {genres}",
        cache=str(tmp_path / "cache"),
    )
    assert data.texts_as_of is None
    assert data.items.texts[2:] == (
        "11'09\"01 (2002)",
        "The Princess and the Frog (2009) | Animation, Children",
    )
    assert (data.name, data.domain, data.repeats, data.release) == (
        "movielens_25m",
        "video",
        False,
        "field",
    )
    assert data.log.positive.tolist() == [False, True, True, False]
    assert data.counts["items_without_release_time"] == 1
    assert data.counts["events_before_release"] == 1  # film 9 of 2002, rated in 1970
    assert set(data.hashes) == {"ratings.csv", "movies.csv", "tags.csv"}
    again = load(
        edition="25m", root=str(root / "ml-25m"), positive_from=3.5, cache=str(tmp_path / "cache")
    )
    assert again.log.positive.tolist() == [False, True, True, True]


def test_profiles_become_user_texts(root: Path, tmp_path: Path) -> None:
    data = load(edition="1m", root=str(root), cache=str(tmp_path / "cache"))
    assert data.users.texts == ("woman | under 18 | K-12 student", "man | 56 or older")


def test_both_editions_of_latest_small_may_lie_side_by_side(root: Path) -> None:
    (root / "ml-latest-small").rename(root / "ml-latest-small-2018")
    (root / "ml-latest-small").mkdir()
    for name in ("ratings.csv", "movies.csv"):
        (root / "ml-latest-small" / name).write_text("of 2016")
    assert {file.parent.name for file in find(root, "latest-small-2018")} == {
        "ml-latest-small-2018"
    }


def test_another_edition_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EDITIONS, "32m", replace(EDITIONS["32m"], ratings=5))
    with pytest.raises(
        DataError,
        match=r"4 ratings in ratings\.csv, expected 5: these are the counts of edition 20m.*ml-32m\.zip",
    ):
        read(find(root, "32m"), "32m")


# --- damage -----------------------------------------------------------------------------------------------------------


DRESSES = [(file, change) for file in list(FILES)[:6] for change in ("mark", "crlf")] + [
    ("ratings.csv", "order")
]


@pytest.mark.parametrize(("file", "change"), DRESSES)
def test_the_same_content_in_another_dress_reads_alike(root: Path, file: str, change: str) -> None:
    edition: Literal["25m", "100k"] = "25m" if file.endswith(".csv") else "100k"
    before = read(find(root, edition), edition)
    path = next(p for p in find(root, edition) if p.name == file)
    content = path.read_bytes()
    if change == "mark":
        content = (
            b"\xef\xbb\xbf"
            + path.read_bytes().decode("utf-8" if edition == "25m" else "latin-1").encode()
        )
    elif change == "crlf":
        content = content.replace(b"\n", b"\r\n")
    else:
        rows = [line.split(",") for line in content.decode().splitlines()]
        content = "".join(",".join(row[::-1]) + "\n" for row in rows).encode()
    path.write_bytes(content)
    after = read(find(root, edition), edition)
    for name in ("items", "users", "interactions", "dated"):
        assert getattr(after, name).equals(getattr(before, name))


CASES = [
    ("1m", "users.dat", lambda c: c[: c.index(b"2::M")], "1 profiles in users.dat, expected 2"),
    ("100k", "u.user", lambda c: c[: c.index(b"2|53")], "1 profiles in u.user, expected 2"),
    (
        "100k",
        "u.item",
        lambda c: c.replace(b"|01-Jan-1995||", b"||01-Jan-1995|").replace(
            b"|4-Feb-1998||", b"||4-Feb-1998|"
        ),
        "line 1, column 'video_date': '01-Jan-1995'; expected nothing",
    ),
    ("25m", "ratings.csv", lambda c: c[:-3], "no line break at its end"),
    (
        "25m",
        "ratings.csv",
        lambda c: c[: c.rindex(b"10,8")],
        "3 ratings in ratings.csv, expected 4",
    ),
    ("25m", "ratings.csv", lambda c: c.replace(b",", b"\t"), "no column 'userId'"),
    (
        "25m",
        "ratings.csv",
        lambda c: c.replace(b"10,8,5.0", b"10,8,5,0"),
        "line 5: 5 fields, expected 4",
    ),
    ("25m", "ratings.csv", lambda c: c + c, "line 6: the header once more"),
    ("25m", "ratings.csv", lambda c: c.replace(b"10,8", b"10,\0"), "line 5: a NUL byte"),
    (
        "25m",
        "ratings.csv",
        lambda c: c.replace(b"rating,timestamp", b"timestamp,rating"),
        "expected a whole number",
    ),
    (
        "25m",
        "ratings.csv",
        lambda c: c.replace(b"userId,movieId", b"movieId,userId"),
        "3 users in ratings.csv, expected 2",
    ),
    (
        "25m",
        "ratings.csv",
        lambda c: c.replace(b",5.0,", b",50,"),
        "ratings outside 0.5 to 5 in data row 4, such as 50",
    ),
    (
        "25m",
        "ratings.csv",
        lambda c: c.replace(b"1262304001", b"1262304001000"),
        "1262304001000 in data row 3",
    ),
    (
        "25m",
        "ratings.csv",
        lambda c: c.replace(b"10,8,", b"10,6,"),
        "line 5: film 6 is not in .*movies.csv",
    ),
    ("25m", "movies.csv", lambda c: c.replace(b'"Princess', b"Princess"), "line 2: "),
    ("25m", "movies.csv", lambda c: c[: c.rindex(b"7,")], "3 films in movies.csv, expected 4"),
    (
        "25m",
        "movies.csv",
        lambda c: c.replace(b"\n8,", b"\n9,"),
        "line 4, column 'movieId': 9; expected every film once",
    ),
    ("25m", "movies.csv", lambda c: c.replace(b"Babylon", b"Baby\0on"), "line 4: a NUL byte"),
    ("25m", "movies.csv", lambda c: c.replace(b"Babylon", b"Babyl\xf6n"), "line 4: not UTF-8"),
    ("25m", "tags.csv", lambda c: c[: c.rindex(b"6,")], "9 tags in tags.csv, expected 10"),
    (
        "25m",
        "tags.csv",
        lambda c: c.replace(b",403", b",403000000000000"),
        "expected whole Unix seconds",
    ),
    ("25m", "tags.csv", lambda c: c.replace(b',"a, ', b",a, "), "line 7: 5 fields, expected 4"),
    ("100k", "u.data", lambda c: b"user\titem\trating\ttime\n" + c, "line 1, column 'userId'"),
    ("100k", "u.data", lambda c: c.replace(b"\t", b","), "line 1: 1 fields, expected 4"),
    (
        "100k",
        "u.item",
        lambda c: c.replace(b"01-Jan", b"01-Jam"),
        "line 1, column 'date': '01-Jam-1995'; expected such as 01-Jan-1995",
    ),
    (
        "100k",
        "u.item",
        lambda c: c.replace(b"1|0|1\n", b"1|0|2\n"),
        "line 3, column 'Western': '2'; expected a genre: 0 or 1",
    ),
    (
        "100k",
        "u.item",
        lambda c: c.replace(b"unknown||||", b"unknown|||"),
        "line 2: 23 fields, expected 24",
    ),
    (
        "100k",
        "u.item",
        lambda c: c.replace(b"\n2|", b"\nx|"),
        "line 2, column 'movieId': 'x'; expected a whole number",
    ),
    (
        "100k",
        "u.user",
        lambda c: c.replace(b"|M|24", b"").replace(b"24|M", b"M|24"),
        "line 1, column 'gender': '24'; expected one of F",
    ),
    (
        "1m",
        "ratings.dat",
        lambda c: c.replace(b"::", b":"),
        "line 1: 1 fields, expected 4 separated by '::'",
    ),
    (
        "1m",
        "movies.dat",
        lambda c: c.replace(b"::Sci-Fi", b":Sci-Fi"),
        "line 2: 2 fields, expected 3",
    ),
    (
        "1m",
        "users.dat",
        lambda c: c.replace(b"::56::", b"::57::"),
        "line 2, column 'age': '57'; expected one of 1, 18, 25",
    ),
]


@pytest.mark.parametrize(("edition", "file", "damage", "message"), CASES)
def test_damage_is_refused_by_name(
    root: Path, edition: str, file: str, damage, message: str
) -> None:  # type: ignore[no-untyped-def]
    files = find(root, edition)  # type: ignore[arg-type]
    path = next(path for path in files if path.name == file)
    content = damage(path.read_bytes())
    assert content != path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path.parent.name}.*{message}"):
        read(files, edition)  # type: ignore[arg-type]


# --- problems ---------------------------------------------------------------------------------------------------------


def test_missing_data_names_the_ways_to_get_it(tmp_path: Path) -> None:
    [problem] = problems(edition="1m")
    assert (
        "neither COLDLM_DATA nor dataset.root names a folder. coldlm data fetch movielens_1m"
        in problem
    )
    [problem] = problems(edition="latest-small-2018", root=str(tmp_path))
    assert (
        "holds no ratings.csv and movies.csv, neither itself nor in ml-latest-small-2018 or "
        "ml-latest-small" in problem
    )
    assert "ml-latest-small.zip into the data folder, as ml-latest-small-2018/" in problem
    with pytest.raises(DataError, match=r"ml-20m\.zip"):
        load(edition="20m", root=str(tmp_path))


def test_templates_that_the_edition_cannot_fill(root: Path) -> None:
    [problem] = problems(edition="100k", root=str(root), text="{title} | {tags}")
    assert "edition 100k has no tags; remove {tags}" in problem
    [problem] = problems(edition="25m", root=str(root), text="{title} | {genome}")
    assert "{genome} is a later aggregate" in problem
    assert "would leak the future" in problem
    assert (
        len(problems(edition="25m", text="{plot}", half_lives_days=[1.0], item_ttl_days=-1.0)) == 4
    )


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.real_data
@needs_files
def test_the_edition_of_2016_is_recognised() -> None:
    with pytest.raises(
        DataError,
        match=r"100,004 ratings in .*edition of 2016: dataset=video/movielens_latest_small",
    ):
        read(find(DATA, "latest-small-2018"), "latest-small-2018")


@pytest.mark.real_data
@needs_files
def test_real_files_of_the_csv_layout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No later edition is at hand; that of 2016 has the same layout."""
    known = replace(
        EDITIONS["latest-small-2018"], ratings=100_004, users=671, films=9_125, tags=1_296
    )
    monkeypatch.setitem(movielens_editions.EDITIONS, "latest-small-2018", known)
    data = load(
        edition="latest-small-2018", root=str(DATA), text="{title} | {tags}", cache=str(tmp_path)
    )
    assert (len(data.log), len(data.users), len(data.items)) == (100_004, 671, 9_125)
    assert data.log.positive.sum() == 51_568
    assert data.counts["items_without_release_time"] == 6
    direct = (
        pl.read_csv(DATA / "ml-latest-small" / "ratings.csv")
        .with_row_index()
        .sort("timestamp", "index")
    )
    assert [data.items.ids[i] for i in data.log.item] == [str(i) for i in direct["movieId"]]
    assert [data.users.ids[i] for i in data.log.user] == [str(i) for i in direct["userId"]]
    assert data.log.label.tolist() == direct["rating"].to_list()
    late = data.with_texts_as_of(*[np.full(len(data.items), 2_000_000_000)] * 2).items.texts
    assert late[data.items.ids.index("1")] == "Toy Story | Pixar"
