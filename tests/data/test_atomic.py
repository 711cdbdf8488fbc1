from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from coldlm.core.errors import DataError
from coldlm.core.tables import UNKNOWN, Dataset
from coldlm.data.atomic import load, problems
from toys.atomic import INTER, ITEM, USER, write

YEAR_1995 = 788_918_400
STARS: dict[str, Any] = {"label": "rating", "positive_from": 4.0}

REAL = Path(os.environ.get("COLDLM_DATA") or "no data") / "recbole_ml-100k"


def read(folder: Path, **keys: Any) -> Dataset:
    return load(root=str(folder), cache=str(folder / "cache"), **STARS | keys)


def rows(data: Dataset) -> list[tuple[str, str, int, float, bool, int]]:
    log = data.log
    columns = (log.time, log.label, log.positive, log.event_id)
    people = [data.users.ids[u] for u in log.user], [data.items.ids[i] for i in log.item]
    return list(zip(*people, *(column.tolist() for column in columns), strict=True))


def test_three_files_become_a_dataset_in_time_order(tmp_path: Path) -> None:
    data = read(write(tmp_path))
    assert rows(data) == [
        ("u", "a", 10, 4.5, True, 1),  # the half second is cut off, and counted
        ("u", "b", 20, 2.0, False, 2),
        ("v", "b", 30, 5.0, True, 0),
    ]
    assert data.items.ids == ("a", "b", "c")
    # price is a number, and so no text; year holds a V, and is one
    assert data.items.texts == (
        "Red tea 红茶 | 1995 | tea hot",
        "Tea pot | V",
        "Cup | 2001 | ware",
    )
    assert data.items.titles == ("Red tea 红茶", "Tea pot", "Cup")
    assert data.users.texts == ("24 | writer", "53 | other")
    assert (data.name, data.domain, data.release, data.repeats) == (
        "toy",
        "atomic",
        "after_first",
        False,
    )
    assert data.counts["timestamps_cut_to_seconds"] == 1
    assert sorted(data.hashes) == ["toy.inter", "toy.item", "toy.user"]


def test_the_templates_decide_what_is_text_and_profile(tmp_path: Path) -> None:
    data = read(write(tmp_path), text="{name} ({price})", profile="{job}, {age}")
    assert data.items.texts == ("Red tea 红茶 (3.5)", "Tea pot", "Cup (2)")
    assert data.users.texts == ("writer, 24", "other, 53")
    assert data.items.titles[1] == "Tea pot"


def test_a_field_of_years_is_a_release_and_what_is_none_is_counted(tmp_path: Path) -> None:
    data = read(write(tmp_path, item=ITEM.replace("\tV\t", "\tunknown\t")), released_at="year")
    assert data.items.released_at.tolist() == [YEAR_1995, UNKNOWN, 978_307_200]
    assert data.release == "field"
    assert data.counts["releases_that_are_no_time"] == 1
    assert data.items.texts[2] == "Cup | ware"  # the release is no text unless a template says so


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("788918400", YEAR_1995), ("1995-01-01", YEAR_1995), ("1995-01-01T00:00:05", YEAR_1995 + 5)],
)
def test_a_release_may_be_seconds_or_a_date(value: str, seconds: int, tmp_path: Path) -> None:
    item = "item_id:token\treleased_at:token\tname:token\na\t" + value + "\tx\nb\t\ty\n"
    data = read(write(tmp_path, item=item))
    assert data.items.released_at.tolist() == [seconds, UNKNOWN]
    assert data.release == "field"


def test_a_release_of_no_time_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"toy.item, line 2, column 'name': 'Red tea 红茶', and no"):
        read(write(tmp_path), released_at="name")


def test_other_files_and_crlf_and_a_mark_change_nothing(tmp_path: Path) -> None:
    plain = read(write(tmp_path))
    for kind in ("inter", "item", "user"):
        path = tmp_path / f"toy.{kind}"
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    (tmp_path / "toy.link").write_text("of no matter")
    other = read(tmp_path)
    assert rows(other) == rows(plain)
    assert (other.items.texts, other.users) == (plain.items.texts, plain.users)


def test_users_are_told_apart_by_fields(tmp_path: Path) -> None:
    assert read(write(tmp_path), groups=["job"]).users.groups == {"job": ("writer", "other")}
    keys: dict[str, Any] = {"root": str(tmp_path), **STARS}
    (wrong,) = problems(**keys, groups=["sex"])
    assert "got 'sex', allowed: user_id, age, job" in wrong
    (tmp_path / "toy.user").unlink()
    (without,) = problems(**keys, groups=["job"])
    assert without.startswith("dataset.groups: there is no ")


def test_without_item_and_user_files_there_is_no_text(tmp_path: Path) -> None:
    data = read(write(tmp_path, item=None, user=None))
    assert data.items.ids == ("a", "b")
    assert data.items.texts == ("", "")
    assert data.items.titles == ("item a", "item b")
    assert data.users.texts == ("", "")
    assert data.counts["items_without_text"] == 2


def test_an_item_that_is_in_no_file_of_theirs_has_no_text_and_is_counted(tmp_path: Path) -> None:
    inter = INTER + "u\tz\t5\t40\nw\ta\t5\t50\n"
    data = read(write(tmp_path, inter))
    assert data.items.ids == ("a", "b", "c", "z")
    assert data.items.texts[3] == ""
    assert data.users.texts == ("24 | writer", "53 | other", "")
    assert data.counts["items_without_metadata"] == 1
    assert data.counts["users_without_profile"] == 1


def test_files_of_another_set_are_refused(tmp_path: Path) -> None:
    other = ITEM.replace("\nb\t", "\nB\t").replace("\na\t", "\nA\t")
    with pytest.raises(
        DataError, match=r"toy.item, line 1: 2 of the 2 items of .*inter, such as 'a', are not in"
    ):
        read(write(tmp_path, item=other))


def test_exact_duplicates_are_dropped_and_counted(tmp_path: Path) -> None:
    data = read(write(tmp_path, INTER + "u\tb\t2.0\t20\nu\tb\t3\t20\n"))
    assert data.counts["exact_duplicate_interactions_dropped"] == 1
    assert [row[5] for row in rows(data)] == [1, 2, 4, 0]


def test_fields_may_have_other_names(tmp_path: Path) -> None:
    names = {"user_id": "uid", "item_id": "artist_id", "timestamp": "when", "rating": "label"}
    files = [INTER, ITEM, USER]
    for old, new in names.items():
        files = [text.replace(f"{old}:", f"{new}:") for text in files]
    plain = read(write(tmp_path))
    other = read(write(tmp_path, *files), user="uid", item="artist_id", time="when", label=None)
    assert rows(other) == rows(plain)
    assert other.items.texts == plain.items.texts


def test_a_token_may_hold_the_time(tmp_path: Path) -> None:
    inter = "user_id:token\titem_id:token\ttimestamp:token\nu\ta\t2010-01-01\nu\tb\t2010-01-02\n"
    data = read(write(tmp_path, inter, user=None), label=None, positive_from=None)
    assert data.log.time.tolist() == [1_262_304_000, 1_262_390_400]
    assert data.log.positive.all()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"inter": INTER.replace("4.5", "4.5x")}, "toy.inter, line 3, column 'rating': '4.5x'; exp"),
        ({"inter": INTER.replace("4.5", "")}, "line 3, column 'rating': nothing; expected a number"),
        ({"item": ITEM.replace("3.5", "dear")}, "toy.item, line 2, column 'price': 'dear'; expect"),
        ({"item": ITEM.replace("3.5", "nan")}, "toy.item, line 2, column 'price': 'nan'; expected"),
        ({"user": USER.replace("53", "old")}, "toy.user, line 3, column 'age': 'old'; expected a n"),
        ({"inter": INTER.replace("\t30", "\t30000000000000")}, "line 2, column 'timestamp': .*milli"),
        ({"inter": INTER.replace("\t30", "\t-3")}, "line 2, column 'timestamp': '-3'; expected Unix"),
        ({"inter": INTER.replace("\t30", "\t")}, "line 2, column 'timestamp': nothing; expected Un"),
        ({"inter": INTER.replace("v\tb", "v\t")}, "line 2, column 'item_id': nothing; expected an"),
        ({"inter": INTER.replace("v\tb", "\tb")}, "line 2, column 'user_id': nothing; expected an"),
        ({"item": ITEM.replace("\nc", "\na")}, "line 4, column 'item_id': 'a'; expected an id that"),
        ({"item": ITEM.replace("token_seq", "text", 1)}, "line 1: 'name:text'; expected field:type"),
        ({"item": ITEM.replace("token_seq", "tokens", 1)}, "did you mean token_?"),
        ({"item": ITEM.replace("name:token_seq", "name")}, "line 1: 'name'; expected field:type"),
        ({"item": ITEM.replace("year:", "name:")}, "line 1: field 'name' appears twice"),
        ({"inter": INTER.replace("item_id", "item")}, "no field 'item_id' .dataset.item.; fields fo"),
        ({"inter": INTER.replace("timestamp", "time")}, "no field 'timestamp' .dataset.time.; fie"),
        ({"item": ITEM.replace("item_id", "id")}, "toy.item, line 1: no field 'item_id'"),
        ({"inter": INTER.replace("u\ta\t", "u\ta\ta\t")}, "line 3: 5 fields, expected 4"),
        ({"inter": INTER.replace("4.5", "1").replace("\t5\t", "\t1\t")}, "none of 3 events is a po"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_place(
    files: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, **files))


def test_vectors_are_checked_and_never_text(tmp_path: Path) -> None:
    item = "item_id:token\tname:token\tv:float_seq\na\tx\t1 2.5\nb\ty\t\n"
    assert read(write(tmp_path, item=item)).items.texts == ("x", "y")
    (found,) = problems(root=str(tmp_path), text="{v}", **STARS)
    assert "no field {v}; fields may be {name}" in found
    with pytest.raises(DataError, match=r"line 2, column 'v': '1 2,5'; expected numbers with blan"):
        read(write(tmp_path, item=item.replace("2.5", "2,5")))


def test_a_rating_is_a_label_or_nothing_is_read(tmp_path: Path) -> None:
    (found,) = problems(root=str(write(tmp_path)))
    assert "column 'rating' looks like a label, but is not read: set dataset.label=rating" in found
    assert problems(root=str(tmp_path), label="rating") == []
    data = read(tmp_path, positive_from=None)
    assert data.log.positive.all()  # a label above 0 is a positive


def test_the_folder_may_hold_several_sets_if_one_is_named(tmp_path: Path) -> None:
    inside = tmp_path / "toy"
    inside.mkdir()
    write(inside)
    (found,) = problems(root=str(tmp_path), **STARS)
    assert "holds no file that ends in .inter" in found
    assert rows(read(tmp_path, name="toy")) == rows(read(inside))
    (inside / "other.inter").write_text(INTER)
    (found,) = problems(root=str(inside), **STARS)
    assert "holds other, toy: say which one, dataset.name=other" in found
    (found,) = problems(root=str(inside), name="third", **STARS)
    assert "holds neither third.inter nor third/third.inter" in found
    (found,) = problems(root=None, **STARS)
    assert "neither COLDLM_DATA nor dataset.root names a folder" in found


def test_templates_without_their_file_are_refused(tmp_path: Path) -> None:
    root = str(write(tmp_path, item=None, user=None))
    found = problems(root=root, text="{name}", profile="{age}", **STARS)
    assert len(found) == 2
    assert all("there is no" in problem and "leave it out" in problem for problem in found)
    (wrong,) = problems(root=root, released_at="year", **STARS)
    assert wrong.startswith("dataset.released_at: there is no")


def test_a_kept_table_is_not_met_under_other_names_of_fields(tmp_path: Path) -> None:
    inter = INTER.replace("rating:float", "rating:float\tgrade:float")
    inter = inter.replace("\t30", "\t1\t30").replace("\t10.5", "\t2\t10").replace("\t20", "\t3\t20")
    folder = write(tmp_path, inter)
    assert read(folder).log.label.tolist() == [4.5, 2, 5]
    assert read(folder, label="grade", positive_from=2).log.label.tolist() == [2, 3, 1]


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="RecBole's ml-100k is not there")
def test_recboles_ml_100k(tmp_path: Path) -> None:
    data = load(
        root=str(REAL),
        released_at="release_year",
        text="{movie_title} | {class}",
        profile="{age} {gender} {occupation}",
        cache=str(tmp_path),
        **STARS,
    )
    assert (len(data.users), len(data.items), len(data.log)) == (943, 1_682, 100_000)
    assert int(data.log.positive.sum()) == 55_375
    assert data.items.texts[0] == "Toy Story | Animation Children's Comedy"
    assert data.users.texts[0] == "24 M technician"
    assert data.items.released_at[0] == YEAR_1995
    # films 267 and 1412, whose years are "unkonwn" and "V"
    assert data.counts["releases_that_are_no_time"] == 2
    assert data.counts["items_without_metadata"] == 0
