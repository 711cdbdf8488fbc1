from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from coldlm.core.errors import DataError
from coldlm.data.amazon2018 import BANNED, load, problems, read
from toys.amazon2018 import CSV, META, REVIEWS, lines, write


def _load(root: Path, **keys: Any) -> Any:
    return load(root=str(root), category="Gift_Cards", cache=str(root / "cache"), **keys)


def test_tables_of_reviews_are_exact(tmp_path: Path) -> None:
    tables = read(write(tmp_path, lines(REVIEWS)))
    assert tables.items.rows(named=True) == [
        {
            "item_id": "B001",
            "title": "Loud 'N Clear™",
            "brand": "by Some",
            "category": "Beauty, Hair & Skin",
            "description": "Soft & mild 5 < 6 end",
            "feature": "",
            "main_cat": "All Beauty",
        },
        {"item_id": "B002", **dict.fromkeys(tables.items.columns[1:], ""), "description": "护发素"},
        {"item_id": "0000031887", **dict.fromkeys(tables.items.columns[1:], "")},
    ]
    assert tables.users["user_id"].to_list() == ["A1", "A2", "a1"]
    assert tables.interactions.rows() == [
        (1, 1, 1_500_000_000, 4.0, 1),
        (0, 0, 1_518_048_000, 5.0, 0),
        (2, 2, 1_518_048_000, 2.0, 3),
        (1, 1, 1_518_048_000, 3.0, 4),
    ]
    assert tables.counts == {
        "repeated_meta_lines": 1,
        "meta_lines_of_unrated_items": 1,
        "titles_of_script": 1,
        "repeated_lines": 1,
        "items_without_metadata": 1,
    }


@pytest.mark.parametrize("name", ["Gift_Cards.csv", "Gift_Cards.csv.gz"])
def test_stars_without_header_name_the_product_first(tmp_path: Path, name: str) -> None:
    files = write(tmp_path, CSV, name)
    if name.endswith(".gz"):
        files[0].write_bytes(gzip.compress(CSV.encode()))
    tables = read(files)
    assert tables.items["item_id"].to_list() == ["0000031887", "B000000001", "B000000002"]
    assert tables.users["user_id"].to_list() == ["A1", "A2ABCDEFGHIJK", "a1"]
    assert tables.interactions.rows() == [
        (1, 2, 1_500_000_000, 4.0, 1),
        (0, 1, 1_518_048_000, 5.0, 0),
        (2, 0, 1_518_048_000, 2.0, 3),
        (1, 2, 1_518_048_000, 3.0, 4),
    ]
    assert tables.counts["repeated_lines"] == 1


def test_the_order_of_2014_is_refused(tmp_path: Path) -> None:
    swapped = "".join(
        ",".join((user, item, *rest)) + "\n" for item, user, *rest in map(_split, CSV.splitlines())
    )
    write(tmp_path, swapped, "Gift_Cards.csv")
    with pytest.raises(
        DataError,
        match=r"Gift_Cards\.csv, line 1: 'B000000001' is a product, not a user; .* of 2014",
    ):
        _load(tmp_path)


def _split(line: str) -> list[str]:
    return line.split(",")


def test_texts_thresholds_and_archives(tmp_path: Path) -> None:
    folder = tmp_path / "amazon2018"
    folder.mkdir()
    (folder / "Gift_Cards.json.gz").write_bytes(gzip.compress(lines(REVIEWS).encode()))
    (folder / "meta_Gift_Cards.json.gz").write_bytes(gzip.compress(lines(META).encode()))
    data = _load(tmp_path)
    assert (data.name, data.repeats, data.release) == (
        "amazon2018_Gift_Cards",
        False,
        "after_first",
    )
    assert data.items.texts == ("Loud 'N Clear™ | Beauty, Hair & Skin", "", "")
    assert data.items.titles == ("Loud 'N Clear™", "item B002", "item 0000031887")
    assert data.log.positive.tolist() == [True, True, False, False]
    other = _load(tmp_path, text="{title}: {description}", positive_from=3.0)
    assert other.items.texts == ("Loud 'N Clear™: Soft & mild 5 < 6 end", "护发素", "")
    assert other.log.positive.tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("name", "stars", "old", "new", "message"),
    [
        ("Gift_Cards_5.json", lines(REVIEWS), '1518048000}\n', '15', "line 4: not JSON"),
        ("Gift_Cards_5.json", lines(REVIEWS), "{", "\ufeff{", "line 1: not JSON"),
        ("Gift_Cards_5.json", lines(REVIEWS), "1500000000", '"1500000000"', "line 2, 'unixReviewTime': '1500000000'"),
        ("Gift_Cards_5.json", lines(REVIEWS), "1500000000", "1500000000000", "line 2, column "
                                                                             "'timestamp': 1500000"),
        ("Gift_Cards_5.json", lines(REVIEWS), "1500000000", "150000000", "line 2, column "
                                                                         "'timestamp': 150000000;"),
        ("Gift_Cards_5.json", lines(REVIEWS), '"overall": 4', '"overall": 0', "line 2, column "
                                                                              "'label': 0.0; expected"),
        ("Gift_Cards_5.json", lines(REVIEWS), "asin", "asun", "line 1, column 'item_id': nothing; "
                                                              "expected an id"),
        ("Gift_Cards_5.json", lines(REVIEWS), '"0000031887"', '["x"]', "line 4, column 'item_id': "
                                                                       ".*expected an id"),
        ("Gift_Cards_5.json", lines(REVIEWS), '"a1"', '""', "line 4, column 'user_id': nothing; "
                                                            "expected an id"),
        ("Gift_Cards.csv", CSV, "3.0,1518048000\n", "3.0,15180480", "line 5: no line break at its "
                                                                    "end"),
        ("Gift_Cards.csv", CSV, "3.0,1518048000\n", "3.0\n", "line 5: 3 fields, expected 4"),
        ("Gift_Cards.csv", CSV, "B000000001,A1,5", "item,user,stars,time\nB000000001,A1,5", "line 1, column 'label'"),
        ("Gift_Cards.csv", CSV, "B000000002,A2", 'B000000002,"A2', "line 2: a quote"),
        ("Gift_Cards.csv", CSV, "4.0,1500000000", "1500000000,4.0", "line 2, column 'label': "
                                                                    "'1500000000'"),
        ("Gift_Cards.csv", CSV, ",", ";", "line 1: 1 fields, expected 4"),
    ],
)  # fmt: skip
def test_damaged_stars_are_refused_with_their_line(
    tmp_path: Path, name: str, stars: str, old: str, new: str, message: str
) -> None:
    assert old in stars
    write(tmp_path, stars.replace(old, new), name)
    with pytest.raises(DataError, match=rf"{name.replace('.', '[.]')}.*({message})"):
        _load(tmp_path)


def test_damaged_metadata_is_refused_with_its_line(tmp_path: Path) -> None:
    for meta, message in (
        (lines(META)[:-9], "line 4: not JSON"),
        (
            lines(META).replace('"asin": "B009"', '"asin": null'),
            "line 4, 'asin': None; expected an id",
        ),
        (
            lines(META).replace('"by\\n  Some"', "7"),
            "line 1, 'brand': 7; expected text or a list of texts",
        ),
    ):
        write(tmp_path, lines(REVIEWS), meta=meta)
        with pytest.raises(DataError, match=rf"meta_Gift_Cards\.json, {message}"):
            _load(tmp_path)


def test_a_byte_order_mark_before_the_first_product_is_no_part_of_it(tmp_path: Path) -> None:
    tables = read(write(tmp_path, "\ufeff" + CSV, "Gift_Cards.csv"))
    assert tables.items["item_id"].to_list() == ["0000031887", "B000000001", "B000000002"]


@pytest.mark.parametrize("field", BANNED)
def test_fields_that_know_the_future_are_refused(tmp_path: Path, field: str) -> None:
    write(tmp_path, CSV, "Gift_Cards.csv")
    [problem] = problems(root=str(tmp_path), category="Gift_Cards", text=f"{{{field}}}")
    assert (
        f"{{{field}}} is a later aggregate ({BANNED[field]}) and would leak the future; fields may "
        "be" in problem
    )


def test_problems_name_what_to_do(tmp_path: Path) -> None:
    found = problems(
        root=str(tmp_path), category="Gift_Cards", half_lives_days=[1.0], item_ttl_days=-1.0
    )
    assert len(found) == 4
    for way in (
        "none of Gift_Cards_5.json, Gift_Cards.json, Gift_Cards.csv, plain or .gz, nor in "
        "amazon2018/",
        "coldlm data fetch amazon2018",
        "categoryFilesSmall/<Category>_5.json.gz",
        "COLDLM_DATA",
    ):
        assert way in found[2]
    assert "no metadata" in found[3]
    write(tmp_path, CSV, "Gift_Cards.csv")
    assert problems(root=str(tmp_path), category="Gift_Cards") == []
    write(tmp_path, lines(REVIEWS))
    [problem] = problems(root=str(tmp_path), category="Gift_Cards")
    assert "the stars are there more than once" in problem
    [problem] = problems()
    assert "neither COLDLM_DATA nor dataset.root" in problem
    [problem] = problems(root=str(tmp_path), category="/etc/passwd")
    assert problem.startswith("dataset.category='/etc/passwd'")
