from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from coldlm.core.errors import DataError
from coldlm.core.files import hash_file
from coldlm.core.tables import UNKNOWN, Dataset
from coldlm.data.own import load, problems
from toys.own import EVENTS, ITEMS, write


def _events(data: Dataset) -> list[tuple[str, str, int, float, bool, int]]:
    log = data.log
    return [
        (data.users.ids[u], data.items.ids[i], int(t), float(x), bool(p), int(e))
        for u, i, t, x, p, e in zip(
            log.user, log.item, log.time, log.label, log.positive, log.event_id, strict=True
        )
    ]


def test_two_csv_files_become_a_dataset_in_time_order(tmp_path: Path) -> None:
    keys = write(tmp_path)
    data = load(**keys)
    assert data.items.ids == ("a", "b")
    assert data.items.titles == ("Red tea", "Tea pot 🫖")
    # price is all numbers: no text
    assert data.items.texts == (
        "Red tea | Oolong House",
        "Tea pot 🫖",
    )
    assert data.items.released_at.tolist() == [UNKNOWN, UNKNOWN]
    assert (data.release, data.repeats, data.name, data.domain) == (
        "after_first",
        False,
        "own",
        "own",
    )
    assert _events(data) == [
        ("u", "a", 10, 1, True, 1),
        ("u", "b", 20, 1, True, 2),
        ("v", "b", 30, 1, True, 0),
    ]
    assert data.hashes == {Path(path).name: hash_file(Path(path)) for path in keys.values()}


def test_a_column_that_looks_like_a_label_is_read_or_refused_never_passed_over(
    tmp_path: Path,
) -> None:
    keys = write(
        tmp_path, events="user_id,item_id,timestamp,Rating,day\nu,a,10,0,mon\nu,b,20,1,tue\n"
    )
    with pytest.raises(
        DataError,
        match=r"column .Rating. looks like a label, but is not read: set dataset\.label=Rating",
    ):
        load(**keys)
    data = load(**keys, label="Rating")
    assert data.log.positive.tolist() == [False, True]
    assert data.counts["interaction columns not read: day"] == 1
    assert data.counts["item columns not read: price"] == 1


@pytest.mark.parametrize("values", [("true", "false"), ("1", "0"), ("True", "False")])
def test_labels_may_be_written_as_truth_values(tmp_path: Path, values: tuple[str, str]) -> None:
    events = "user_id,item_id,timestamp,label\n" + "".join(
        f"u,{i},5,{v}\n" for i, v in zip("ab", values, strict=True)
    )
    assert load(**write(tmp_path, events=events)).log.positive.tolist() == [True, False]


def test_parquet_with_integer_ids_gives_the_same_as_csv(tmp_path: Path) -> None:
    items = pl.DataFrame({"item_id": [7, 8], "title": ["x", None], "year": [1999, 2000]})
    events = pl.DataFrame({"user_id": [1, 1], "item_id": [7, 8], "timestamp": [10, 20]})
    items.write_parquet(tmp_path / "i.parquet")
    events.write_parquet(tmp_path / "e.parquet")
    items.write_csv(tmp_path / "i.csv")
    events.write_csv(tmp_path / "e.csv")
    by_kind = [
        load(
            items=str(tmp_path / f"i.{kind}"),
            interactions=str(tmp_path / f"e.{kind}"),
            text="{title} {year}",
        )
        for kind in ("parquet", "csv")
    ]
    assert by_kind[0].items.ids == by_kind[1].items.ids == ("7", "8")
    assert by_kind[0].items.texts == by_kind[1].items.texts == ("x 1999", "2000")
    assert _events(by_kind[0]) == _events(by_kind[1])


@pytest.mark.parametrize("column", ["item_id", "user_id"])
def test_the_number_1_and_the_text_1_are_two_ids(column: str, tmp_path: Path) -> None:
    """A csv file has no types, so it goes with either."""
    files = {
        "items": pl.DataFrame({"item_id": [7, 8], "title": ["x", "y"]}),
        "interactions": pl.DataFrame({"user_id": [1, 1], "item_id": [7, 8], "timestamp": [10, 20]}),
        "users": pl.DataFrame({"user_id": [1], "about": ["tea"]}),
    }
    paths = {name: str(tmp_path / f"{name}.parquet") for name in files}
    for name, table in files.items():
        table.write_parquet(paths[name])
    whole = load(**paths)
    files["interactions"].with_columns(pl.col(column).cast(pl.String)).write_parquet(
        paths["interactions"]
    )
    with pytest.raises(
        DataError,
        match=f"column '{column}': .* whole numbers in .* strings in .*interactions.parquet",
    ):
        load(**paths)
    files["interactions"].write_csv(tmp_path / "interactions.csv")
    assert _events(load(**paths | {"interactions": str(tmp_path / "interactions.csv")})) == _events(
        whole
    )


def test_byte_order_mark_and_crlf_change_nothing(tmp_path: Path) -> None:
    plain = load(**write(tmp_path))
    for name in ("items.csv", "events.csv"):
        path = tmp_path / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    other = load(items=str(tmp_path / "items.csv"), interactions=str(tmp_path / "events.csv"))
    assert other.items.texts == plain.items.texts
    assert _events(other) == _events(plain)


def test_ids_that_differ_in_blanks_zeros_or_case_are_different(tmp_path: Path) -> None:
    items = "item_id,title\n1,a\n01,b\n 1,c\n1.0,d\nA,e\na,f\n"
    events = "user_id,item_id,timestamp\n" + "".join(
        f"u,{i},5\nU,{i},5\n" for i in ("1", "01", " 1", "1.0", "A", "a")
    )
    data = load(**write(tmp_path, items, events))
    assert data.items.ids == ("1", "01", " 1", "1.0", "A", "a")
    assert data.users.ids == ("U", "u")
    assert len(data.log) == 12


def test_exact_duplicates_are_dropped_and_counted_others_kept(tmp_path: Path) -> None:
    events = "user_id,item_id,timestamp,label\nu,a,10,1\nu,a,10,1.0\nu,a,10,2\nu,a,11,1\nu,a,10,1\n"
    data = load(**write(tmp_path, events=events))
    assert data.counts["exact_duplicate_interactions_dropped"] == 2  # rows 2 and 5
    assert [event[2:] for event in _events(data)] == [
        (10, 1, True, 0),
        (10, 2, True, 2),
        (11, 1, True, 3),
    ]


def test_positive_is_a_label_above_zero_or_from_the_threshold(tmp_path: Path) -> None:
    keys = write(
        tmp_path, events="user_id,item_id,timestamp,label\nu,a,1,-1\nu,a,2,0\nu,a,3,0.5\nu,a,4,4\n"
    )
    assert load(**keys).log.positive.tolist() == [False, False, True, True]
    assert load(**keys, positive_from=4).log.positive.tolist() == [False, False, False, True]
    assert load(**keys, positive_from=-1).log.positive.all()
    with pytest.raises(
        DataError, match=r"no positive event; labels reach 4, positive_from is 4\.5"
    ):
        load(**keys, positive_from=4.5)


def test_release_column_is_found_or_named(tmp_path: Path) -> None:
    items = "item_id,title,released_at,launch\na,x,5,2010-01-01\nb,y,,1950-01-01\n"
    keys = write(tmp_path, items)
    data = load(**keys)
    assert (data.release, data.items.released_at.tolist()) == ("field", [5, UNKNOWN])
    assert data.items.texts == ("x | 2010-01-01", "y | 1950-01-01")
    assert data.counts["items_without_release_time"] == 1
    named = load(**keys, released_at="launch")
    assert named.items.released_at.tolist() == [1_262_304_000, -631_152_000]
    assert named.counts["events_before_release"] == 1


def test_users_file_gives_texts_and_unlisted_users_are_counted(tmp_path: Path) -> None:
    keys = write(tmp_path, users="user_id,about\nz,likes pots\nu,likes  tea\n")
    data = load(**keys)
    assert data.users.ids == ("z", "u", "v")
    assert data.users.texts == ("likes pots", "likes tea", "")
    assert data.counts["users_not_in_the_users_file"] == 1


def test_users_are_told_apart_by_columns(tmp_path: Path) -> None:
    many = "".join(f"w{i},9,{i}\n" for i in range(21))
    keys = write(tmp_path, users=f"user_id,team,number\nu,red,1\nv,,2\n{many}")
    data = load(**keys, groups=["team"])
    assert data.users.groups == {"team": ("red", "", *["9"] * 21)}
    assert load(**keys).users.groups == {}
    with pytest.raises(DataError, match=r"'number' has 21 values in .*, at most 20 are compared"):
        load(**keys, groups=["number"])
    (wrong,) = problems(**keys, groups=["colour"])
    assert "got 'colour', allowed: user_id, team, number" in wrong
    (without,) = problems(**write(tmp_path), groups=["team"])
    assert "set dataset.users" in without


def test_empty_and_long_texts_are_counted_and_kept_whole(tmp_path: Path) -> None:
    items = f'item_id,title\na,\nb,"  "\nc,{"x" * 100_000}\nd,"two\nlines"\n'
    data = load(**write(tmp_path, items))
    assert [len(text) for text in data.items.texts] == [0, 0, 100_000, 9]
    assert data.counts["items_without_text"] == 2
    assert data.counts["texts_over_10000_chars"] == 1
    assert data.items.texts[3] == "two lines"


@pytest.mark.parametrize(
    ("items", "events", "message"),
    [
        (
            "item_id,title\na,x\nb,y\na,z\n",
            EVENTS,
            r"items\.csv, column 'item_id': 'a' again in data row 3",
        ),
        (
            "item_id,title\na,x\n,y\n",
            EVENTS,
            r"items\.csv, column 'item_id': missing in data row 2",
        ),
        (
            "item_id,price\na,3\nb,4\n",
            EVENTS,
            r"items\.csv: no text column beside item_id; columns found: .*price",
        ),
        ("item_id,title\n", EVENTS, r"items\.csv: no rows"),
        (ITEMS, "user_id,item_id,timestamp\n", r"events\.csv: no rows"),
        (
            ITEMS,
            "user_id,item_id,timestamp\nu,a,1\nu,q,2\n",
            r"events\.csv, .*'q' in data row 2 \(line 3\) is not among the items of .*items\.csv "
            r"\(1 such items in 1 of 2 rows; dataset\.unlisted_items=keep",
        ),
        (
            ITEMS,
            "user_id,item_id,timestamp\nu,A ,1\n",
            r"'A ' in data row 1 \(line 2\) is not .*'a' is another id: case and blanks",
        ),
        (
            ITEMS,
            "user_id,item_id,timestamp\n,a,1\n",
            r"events\.csv, column 'user_id': missing in data row 1",
        ),
        (
            ITEMS,
            "user_id,item_id,timestamp\nu,a,1\nv\0,b,2\n",
            r"events\.csv.*line 3: a NUL byte|column 'user_id': a NUL",
        ),
        (
            ITEMS,
            "user_id,item_id,timestamp\nu,a,\n",
            r"events\.csv, column 'timestamp': missing in data row 1",
        ),
        (
            ITEMS,
            "user_id,item_id,timestamp\nu,a,1\n\nu,a,2\n",
            r"events\.csv, line 3: 1 fields, expected 3",
        ),
        (
            ITEMS,
            "user_id,item_id,timestamp,label\nu,a,1,5\nu,a,2,good\n",
            r"'label': 'good', which is not a number, in data row 2",
        ),
        (ITEMS, "user_id,item_id,timestamp,label\nu,a,1,\n", r"'label': missing in data row 1"),
    ],
)
def test_bad_rows_are_refused_with_file_column_and_row(
    tmp_path: Path, items: str, events: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(**write(tmp_path, items, events))


def test_a_user_listed_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"users\.csv, column 'user_id': 'u' again in data row 2"):
        load(**write(tmp_path, users="user_id\nu\nu\n"))


def test_ids_with_decimals_and_texts_of_structures_are_refused(tmp_path: Path) -> None:
    keys = write(tmp_path)
    pl.DataFrame({"item_id": [1.5], "title": ["x"]}).write_parquet(tmp_path / "i.parquet")
    with pytest.raises(DataError, match="ids of type Float64 that are no whole numbers"):
        load(items=str(tmp_path / "i.parquet"), interactions=keys["interactions"])
    pl.DataFrame({"item_id": ["a", "b"], "tags": [{"k": "x"}, {"k": "y"}]}).write_parquet(
        tmp_path / "i.parquet"
    )
    with pytest.raises(DataError, match="column 'tags': structures cannot be text"):
        load(items=str(tmp_path / "i.parquet"), interactions=keys["interactions"], text="{tags}")


def test_shuffled_rows_give_the_same_events_but_for_their_numbers(tmp_path: Path) -> None:
    straight = load(**write(tmp_path))
    header, *rows = EVENTS.splitlines()
    shuffled = load(**write(tmp_path, events="\n".join([header, *reversed(rows)]) + "\n"))
    assert shuffled.users.ids == straight.users.ids
    assert [event[:5] for event in _events(shuffled)] == [event[:5] for event in _events(straight)]


def test_two_files_of_one_name_both_keep_their_hash(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "data.csv").write_text(ITEMS, encoding="utf-8")
    (tmp_path / "data.csv").write_text(EVENTS, encoding="utf-8")
    data = load(items=str(tmp_path / "i" / "data.csv"), interactions=str(tmp_path / "data.csv"))
    assert len(data.hashes) == 2


def test_all_problems_come_together_and_name_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("user;item_id;timestamp\nu;a;5\n", encoding="utf-8")
    found = problems(
        items=str(tmp_path / "none.csv"),
        interactions=str(tmp_path / "events.csv"),
        half_lives_days=[30.0, 7.0, 1.0],
        item_ttl_days=0.0,
    )
    text = "\n".join(found)
    assert "dataset.half_lives_days=[30.0, 7.0, 1.0]: exactly 3" in text
    assert "dataset.item_ttl_days=0.0: days above 0" in text
    assert "none.csv: no such file. dataset=own reads files of yours" in text
    assert (
        "events.csv, line 1: no column 'user_id'; columns found: 'user', 'item_id', 'timestamp'; "
        "'user' looks like user_id: dataset.columns.user_id=user"
    ) in text


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"text": "{tilte}"},
            "no field {tilte}; fields may be {item_id}, {title}, {brand}, {price}",
        ),
        ({"released_at": "realeased"}, "no column 'realeased'"),
        ({"positive_from": 4.0}, "no column 'label'"),
        ({"label": "stars"}, "no column 'stars'"),
        (
            {"interactions": None},
            "dataset.interactions is not set. dataset=own reads files of yours",
        ),
    ],
)
def test_keys_that_do_not_fit_the_files_are_problems(
    tmp_path: Path, keys: dict[str, Any], message: str
) -> None:
    keys = {**write(tmp_path), **keys}
    [problem] = problems(**keys)
    assert message in problem
    with pytest.raises(DataError):
        load(**keys)


def test_good_files_have_no_problems(tmp_path: Path) -> None:
    assert problems(**write(tmp_path, users="user_id\nu\n"), text="{title} ({price})") == []
