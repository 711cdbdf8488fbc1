from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coldlm.core.errors import DataError
from coldlm.data import hm
from coldlm.data.hm import FIELDS, load, problems, read
from toys.hm import ARTICLES, CUSTOMERS, HEADER, LINES, A, B, C, write

DAY = 86_400
START = 1_537_401_600  # 2018-09-20


def _load(root: Path, **keys: Any) -> Any:
    return load(root=str(root), cache=str(root / "cache"), **keys)


def test_tables_are_exact(tmp_path: Path) -> None:
    tables = read(write(tmp_path, customers=CUSTOMERS))
    assert tables.items["item_id"].to_list() == [
        "0108775015",
        "0108775044",
        "0110065001",
        "0999999999",
    ]
    assert tables.items.columns == ["item_id", *FIELDS]
    assert tables.items.row(0)[1:] == (
        "Strap top", "Vest top", "Garment Upper body", "Solid", "Black", "Dark", "Black", "Jersey Basic", "Ladieswear",
        "Ladieswear", "Basics", "Jersey", 'Jersey top, narrow "spaghetti" straps.',
    )  # fmt: skip
    assert tables.items["detail_desc"].to_list()[1:] == ["", "Two lines: 罩杯", ""]
    assert tables.users.rows() == [(B, "age 49"), (C, "age 24"), (A, "")]
    assert tables.interactions.rows() == [
        (2, 0, START, 1.0, 0),
        (0, 2, START, 1.0, 2),
        (2, 3, START, 1.0, 3),
        (2, 0, START + DAY, 1.0, 4),
    ]
    assert tables.counts == {
        "repeated_lines": 1,
        "customers_without_age": 1,
        "items_without_metadata": 1,
    }


def test_without_customers_users_have_no_text(tmp_path: Path) -> None:
    tables = read(write(tmp_path))
    assert tables.users.rows() == [(A,), (B,)]
    assert tables.counts == {"repeated_lines": 1, "items_without_metadata": 1}


@pytest.mark.parametrize("folder", [*hm.FOLDERS, "."])
def test_texts_and_profiles(tmp_path: Path, folder: str) -> None:
    write(tmp_path / folder, customers=CUSTOMERS)
    data = _load(tmp_path)
    assert (data.name, data.domain, data.repeats, data.release) == (
        "hm",
        "ecommerce",
        True,
        "after_first",
    )
    assert data.items.texts == (
        'Strap top | Vest top | Black | Jersey top, narrow "spaghetti" straps.',
        "Strap top | Vest top | White",
        "OP T-shirt (Idro) | Bra | Black | Two lines: 罩杯",
        "",
    )
    assert data.items.titles == ("Strap top", "Strap top", "OP T-shirt (Idro)", "item 0999999999")
    assert data.users.texts == ("age 49", "age 24", "")
    assert data.log.positive.all()
    assert data.counts["items_without_text"] == 1
    assert set(data.hashes) == {"articles.csv", "transactions_train.csv", "customers.csv"}
    assert (
        _load(tmp_path, text="{prod_name} ({section_name})").items.texts[0] == "Strap top (Basics)"
    )


def _reverse(text: str) -> str:
    return "".join(",".join(reversed(line.split(","))) + "\n" for line in text.splitlines())


def test_marks_line_ends_and_swapped_columns_read_the_same(tmp_path: Path) -> None:
    plain = read(write(tmp_path / "plain", customers=CUSTOMERS))
    for number, (lines, customers) in enumerate(
        [
            ("\ufeff" + LINES, "\ufeff" + CUSTOMERS),
            (LINES.replace("\n", "\r\n"), CUSTOMERS.replace("\n", "\r\n")),
            (_reverse(LINES), CUSTOMERS),
            (LINES, CUSTOMERS.replace(",24.0,", ",24,")),
        ]
    ):
        other = read(write(tmp_path / str(number), "\ufeff" + ARTICLES, lines, customers))
        assert other.interactions.equals(plain.interactions)
        assert other.items.equals(plain.items)
        assert other.users.equals(plain.users)
    crlf = read(write(tmp_path / "crlf", ARTICLES.replace("\n", "\r\n"), customers=CUSTOMERS))
    assert crlf.items.equals(plain.items)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",0.05,2\n", ",0.05,", "line 6: no line break at its end: it was cut off"),
        (",0.05,2\n", ",0.05,\n", "line 6, column 'sales_channel_id': nothing; expected a number"),
        (",0.05,2\n", ",0.0\n", "line 6: 4 fields, expected 5"),
        (",0.03,1", ",0.03,1,1", "line 5: 6 fields, expected 5"),
        (
            "0999999999",
            "999999999",
            "line 5, column 'article_id': '999999999'; expected ten digits; the leading 0 is",
        ),
        (
            "2018-09-21",
            "21/09/2018",
            "line 6, column 't_dat': '21/09/2018'; expected a day from 2018-01-01",
        ),
        ("2018-09-21", "2018-09-31", "line 6, column 't_dat': '2018-09-31'"),
        ("2018-09-21", "1018-09-21", "line 6, column 't_dat': '1018-09-21'"),
        ("0110065001,1e-05", "1e-05,0110065001", "line 4, column 'article_id': '1e-05'"),
        ("1e-05", "cheap", "line 4, column 'price': 'cheap'; expected a number"),
        (f"{B},", f'"{B},', "line 4: a quote"),
        (f"{B},", f"{B}\0,", "line 4: a NUL byte"),
        (f"{B},", ",", "line 4, column 'customer_id': nothing"),
        ("2018-09-21", f"{LINES.splitlines()[0]}\n2018-09-21", "line 6: the header once more"),
        ("price", "article_id", "no column 'price'|column 'article_id' appears twice"),
        (",", ";", "fields must be separated by commas"),
    ],
)
def test_damaged_transactions_are_refused_with_their_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in LINES
    write(tmp_path, lines=LINES.replace(old, new))
    with pytest.raises(DataError, match=rf"transactions_train\.csv.*({message})"):
        _load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('lines: 罩杯"\n', "li\n", "unexpected end of data"),
        ('"Two\nlines: 罩杯"\n', "Tw", "line 4: no line break at its end: it was cut off"),
        ("0110065001,0110065,", "0110065001,", "line 5: 24 fields, expected 25"),
        (
            "0108775044,",
            "108775044,",
            "line 3, column 'article_id': '108775044'; expected ten digits",
        ),
        (
            "0108775044,",
            "0108775015,",
            "line 3, column 'article_id': '0108775015'; expected every article once, it is here "
            "again",
        ),
        ("0110065001,", f"{HEADER}\n0110065001,", "line 4: the header once more"),
        ("White,1676", '"White,1676', "is a quote not closed"),
        ("Black,", "B\0lack,", "line 2: a NUL byte"),
        ("detail_desc", "detail", "no column 'detail_desc'"),
        ("prod_name", "detail_desc", "no column 'prod_name'|column 'detail_desc' appears twice"),
        ("product_code", "detail_desc", "column 'detail_desc' appears twice"),
        (",", ";", "only one column: fields must be separated by commas"),
        (ARTICLES[len(HEADER) + 1 :], "", "no rows"),
    ],
)
def test_damaged_articles_are_refused_with_their_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in ARTICLES
    write(tmp_path, ARTICLES.replace(old, new))
    with pytest.raises(DataError, match=rf"articles\.csv.*({message})"):
        _load(tmp_path)


def test_latin_1_is_refused(tmp_path: Path) -> None:
    files = write(tmp_path)
    files[0].write_bytes(ARTICLES.replace("罩杯", "é").encode("latin-1"))
    with pytest.raises(DataError, match=r"articles\.csv.*not UTF-8 text"):
        read(files)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",64f17e6a\n", ",64f", "line 4: no line break at its end: it was cut off"),
        (",64f17e6a\n", "\n", "line 4: 6 fields, expected 7"),
        ("64f17e6a\n", "\n", "line 4, column 'postal_code': nothing; expected a value"),
        (",49,", ",old,", "line 2, column 'age': 'old'; expected years or nothing"),
        (C, B, f"line 3, column 'customer_id': '{B}'; expected every customer once"),
        (f"\n{C}", "\n", "line 3, column 'customer_id': nothing"),
    ],
)
def test_damaged_customers_are_refused_with_their_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in CUSTOMERS
    write(tmp_path, customers=CUSTOMERS.replace(old, new))
    with pytest.raises(DataError, match=rf"customers\.csv, {message}"):
        _load(tmp_path)


def test_problems_name_what_to_do(tmp_path: Path) -> None:
    found = problems(root=str(tmp_path), text="{price}", half_lives_days=[1.0], item_ttl_days=-1.0)
    assert len(found) == 4
    assert "no field {price}; fields may be {prod_name}, {product_type_name}" in found[0]
    for way in (
        "articles.csv and transactions_train.csv",
        "www.kaggle.com/competitions/",
        "hm/",
        "COLDLM_DATA",
    ):
        assert way in found[3]
    [problem] = problems()
    assert "neither COLDLM_DATA nor dataset.root" in problem
    write(tmp_path / "hm")
    assert problems(root=str(tmp_path)) == []
    with pytest.raises(DataError, match="no field"):
        _load(tmp_path, text="{price}")
