from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from coldlm.core.errors import DataError
from coldlm.data.amazon2023 import BANNED, FIELDS, find, load, problems, read
from coldlm.data.files import amazon
from toys.amazon2023 import META, STARS, meta_lines, reviews, write


def _load(root: Path, **keys: Any) -> Any:
    return load(root=str(root), cache=str(root / "cache"), **keys)


def test_tables_are_exact(tmp_path: Path) -> None:
    tables = read(write(tmp_path / "amazon2023"))
    assert tables.items.rows(named=True) == [
        {
            "item_id": "B000000001",
            "title": "Soap & Water 5 < 6 <b>",
            "store": "H & M",
            "categories": "Beauty & Personal Care, Soap",
            "features": "Mild; Green 'leaf'",
            "description": "Long. Longer.",
            "main_category": "All Beauty",
        },
        {
            "item_id": "B081TJ8YS3",
            "title": "发膜",
            **dict.fromkeys(list(tables.items.columns)[2:], ""),
        },
        {"item_id": "B00MISSING", "title": "", **dict.fromkeys(list(tables.items.columns)[2:], "")},
    ]
    assert tables.users["user_id"].to_list() == [
        "AFSKPY37N3C43SOI5IEXEK5JSIYA",
        "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
        "afskpy37n3c43soi5iexek5jsiya",  # case counts
    ]
    assert tables.interactions.rows() == [
        (2, 0, 1_500_000_000, 2.0, 5),
        (1, 1, 1_588_687_728, 4.0, 0),
        (0, 0, 1_588_687_728, 5.0, 1),
        (1, 1, 1_588_687_728, 1.0, 4),
        (1, 2, 1_600_000_000, 3.0, 2),
    ]
    assert tables.counts == {
        "timestamps_cut_to_seconds": 5,
        "repeated_meta_lines": 2,
        "meta_lines_of_unrated_items": 1,
        "titles_of_script": 0,
        "repeated_lines": 1,
        "items_without_metadata": 1,
    }


def test_template_and_threshold_need_no_second_reading(tmp_path: Path) -> None:
    write(tmp_path)
    data = _load(tmp_path)
    assert (data.name, data.domain, data.repeats, data.release) == (
        "amazon2023_All_Beauty",
        "ecommerce",
        False,
        "after_first",
    )
    assert data.items.texts == ("Soap & Water 5 < 6 <b> | Beauty & Personal Care, Soap", "发膜", "")
    assert data.items.titles == ("Soap & Water 5 < 6 <b>", "发膜", "item B00MISSING")
    assert data.log.positive.tolist() == [False, True, True, False, False]
    assert data.counts["items_without_text"] == 1
    assert set(data.hashes) == {"All_Beauty.csv", "meta_All_Beauty.jsonl"}
    other = _load(tmp_path, text="{store} ({features})", positive_from=2.0)
    assert other.items.texts == ("H & M (Mild; Green 'leaf')", "", "")
    assert other.log.positive.tolist() == [True, True, True, False, True]
    assert len(list((tmp_path / "cache" / "prepared").glob("*/about.json"))) == 1


def test_categories_are_data_sets_of_their_own(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, STARS.replace(",4.0,", ",5.0,"), category="Gift_Cards")
    assert (
        _load(tmp_path).log.label.max()
        == _load(tmp_path, category="Gift_Cards").log.label.max()
        == 5
    )
    assert _load(tmp_path, category="Gift_Cards").name == "amazon2023_Gift_Cards"
    assert (
        _load(tmp_path, category="Gift_Cards").log.label.sum()
        == _load(tmp_path).log.label.sum() + 1
    )


def test_archives_marks_and_swapped_columns_read_the_same(tmp_path: Path) -> None:
    plain = read(write(tmp_path))
    for number, stars in enumerate(
        (
            STARS,
            "\ufeff" + STARS,
            STARS.replace("\n", "\r\n"),
            "".join(",".join(reversed(line.split(","))) + "\n" for line in STARS.splitlines()),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "All_Beauty.csv.gz").write_bytes(gzip.compress(stars.encode()))
        (folder / "meta_All_Beauty.jsonl.gz").write_bytes(gzip.compress(meta_lines().encode()))
        other = read(find(folder))
        assert other.interactions.equals(plain.interactions)
        assert other.items.equals(plain.items)
        assert other.users.equals(plain.users)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1500000000999\n", "150000000099", "line 7: no line break at its end: it was cut off"),
        (
            "1500000000999\n",
            "150000000099\n",
            r"line 7, column 'timestamp': '150000000099'; expected Unix milliseconds",
        ),
        (
            "1500000000999\n",
            "\n",
            "line 7, column 'timestamp': nothing; expected Unix milliseconds",
        ),
        (
            "1588687728923",
            "1588687728",
            r"line 2, column 'timestamp': '1588687728'; expected Unix milliseconds",
        ),
        ("1588687728923", "1588687728923.0", r"line 2, column 'timestamp': '1588687728923\.0'"),
        (",3.0,", ",0.0,", r"line 4, column 'label': '0\.0'; expected stars from 1 to 5"),
        (",3.0,", ",nan,", r"line 4, column 'label': 'nan'; expected stars from 1 to 5"),
        (",3.0,", ",3.0,,", "line 4: 5 fields, expected 4"),
        ("B00MISSING,3.0", "3.0,B00MISSING", "line 4, column 'label': 'B00MISSING'"),
        ("B00MISSING", "B00 MISSING", "line 4, column 'item_id': 'B00 MISSING'; expected an id"),
        ("B00MISSING", 'B00"MISSING', "line 4: a quote"),
        ("B00MISSING", "B00\0MISSING", "line 4: a NUL byte"),
        ("B00MISSING", "", "line 4, column 'item_id': nothing"),
        (
            "\nAFSKPY",
            "\nuser_id,parent_asin,rating,timestamp\nAFSKPY",
            "line 3: the header once more",
        ),
        ("user_id,parent_asin,rating,timestamp\n", "", "no column 'parent_asin'"),
        ("user_id,parent_asin", "user_id,user_id", "column 'user_id' appears twice"),
        (",", "\t", "only one column: fields must be separated by commas"),
    ],
)
def test_damaged_stars_are_refused_with_their_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in STARS
    write(tmp_path, STARS.replace(old, new))
    with pytest.raises(DataError, match=rf"All_Beauty\.csv.*{message}"):
        _load(tmp_path)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (meta_lines()[:-20], "line 5: not JSON"),
        ("\ufeff" + meta_lines(), "line 1: not JSON"),
        (
            meta_lines().replace("parent_asin", "asin"),
            "line 1, 'parent_asin': None; expected an id",
        ),
        (meta_lines([{"parent_asin": 5}]), "line 1, 'parent_asin': 5; expected an id"),
        (
            meta_lines([{"parent_asin": "B000000001", "title": {"en": "x"}}]),
            "line 1, 'title': .*expected text or a list",
        ),
        (
            meta_lines([{"parent_asin": "B000000001", "categories": [1]}]),
            "line 1, 'categories': 1; expected text or a li",
        ),
        ("", "no rows"),
    ],
)
def test_damaged_metadata_is_refused_with_its_line(tmp_path: Path, meta: str, message: str) -> None:
    write(tmp_path, meta=meta)
    with pytest.raises(DataError, match=rf"meta_All_Beauty\.jsonl.*{message}"):
        _load(tmp_path)


def test_metadata_of_no_rated_product_leaves_all_texts_empty(tmp_path: Path) -> None:
    write(tmp_path, meta=meta_lines(META[1:2]))
    data = _load(tmp_path)
    assert data.items.texts == ("", "", "")
    assert data.counts["items_without_metadata"] == 3


@pytest.mark.parametrize("is_zipped", [False, True])
def test_raw_reviews_give_the_tables_of_the_stars(tmp_path: Path, is_zipped: bool) -> None:
    plain = read(write(tmp_path / "csv"))
    (tmp_path / "raw").mkdir()
    content = reviews().encode()
    name = "All_Beauty.jsonl.gz" if is_zipped else "All_Beauty.jsonl"
    (tmp_path / "raw" / name).write_bytes(gzip.compress(content) if is_zipped else content)
    (tmp_path / "raw" / "meta_All_Beauty.jsonl").write_text(meta_lines())
    other = read(find(tmp_path / "raw"))
    for table in ("items", "users", "interactions", "dated"):
        assert getattr(other, table).equals(getattr(plain, table))
    assert other.counts == plain.counts
    data = _load(tmp_path / "raw", text=" | ".join(f"{{{field}}}" for field in FIELDS))
    assert set(data.hashes) == {name, "meta_All_Beauty.jsonl"}
    assert not any(
        word in text for text in data.items.texts for word in ("Five", "took", "VARIANT", "7")
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"rating": 3.0',
            '"rating": 9.0',
            r"line 3, column 'label': 9\.0; expected stars from 1 to 5",
        ),
        (
            '"rating": 3.0',
            '"rating": null',
            "line 3, column 'label': nothing; expected stars from 1 to 5",
        ),
        ('"rating": 3.0', '"rating": "three"', "line 3, 'rating': 'three'; expected"),
        ('"parent_asin": "B00MISSING", ', "", "line 3, column 'item_id': nothing; expected an id"),
        (
            "1600000000000",
            "1600000000",
            "line 3, column 'timestamp': 1600000000; expected Unix milliseconds",
        ),
        ('{"rating": 3.0', '"rating": 3.0', "line 3: not JSON"),
    ],
)
def test_damaged_reviews_are_refused_with_their_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in reviews()
    (tmp_path / "All_Beauty.jsonl").write_text(reviews().replace(old, new))
    (tmp_path / "meta_All_Beauty.jsonl").write_text(meta_lines())
    with pytest.raises(DataError, match=rf"All_Beauty\.jsonl.*{message}"):
        _load(tmp_path)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_metadata_is_the_same_in_blocks_of_any_size(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write(tmp_path)
    whole = read(files)
    monkeypatch.setattr(amazon, "BLOCK", size)
    assert read(files).items.equals(whole.items)
    assert read(files).counts == whole.counts


@pytest.mark.parametrize("field", BANNED)
def test_fields_that_know_the_future_are_refused(tmp_path: Path, field: str) -> None:
    write(tmp_path)
    [problem] = problems(root=str(tmp_path), text=f"{{title}} {{{field}}}")
    assert (
        f"{{{field}}} is a later aggregate ({BANNED[field]}) and would leak the future; fields may "
        "be" in problem
    )


def test_all_problems_come_together_and_name_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, category="Books")
    found = problems(root=str(tmp_path), text="{titel}", half_lives_days=[1.0], item_ttl_days=0.0)
    assert len(found) == 5
    assert "dataset.text='{titel}': no field {titel}; fields may be {title}, {store}" in found[0]
    assert (
        "no stars of dataset.category=All_Beauty: none of All_Beauty.csv, All_Beauty.jsonl, plain "
        "or" in found[3]
    )
    assert "nor in amazon2023/" in found[3]
    assert "no metadata of dataset.category=All_Beauty: none of meta_All_Beauty.jsonl" in found[4]
    for way in (
        "coldlm data fetch amazon2023",
        "https://mcauleylab.ucsd.edu/",
        "amazon2023/",
        "COLDLM_DATA",
    ):
        assert way in found[4]
    assert problems(root=str(tmp_path), category="Books") == []
    [problem] = problems()
    assert "neither COLDLM_DATA nor dataset.root names a folder" in problem
    for category in ("../Books", "", "a b", "Books.csv"):
        [problem] = problems(root=str(tmp_path), category=category)
        assert problem.startswith(f"dataset.category={category!r}: letters, digits and underscores")


def test_two_files_for_one_thing_are_a_problem(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "All_Beauty.csv.gz").write_bytes(gzip.compress(STARS.encode()))
    [problem] = problems(root=str(tmp_path))
    assert "the stars are there more than once" in problem
    (tmp_path / "All_Beauty.csv.gz").unlink()
    (tmp_path / "All_Beauty.jsonl").write_text(reviews())
    assert "the stars are there more than once" in problems(root=str(tmp_path))[0]
    assert "keep one of them" in problem
