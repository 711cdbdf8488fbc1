from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coldlm.asof.catalogue import Catalogue
from coldlm.core.errors import DataError
from coldlm.core.tables import UNKNOWN
from coldlm.data import caixin
from coldlm.data.caixin import find, load, problems, read
from toys.caixin import CLICKS, write
from toys.damage import swap

DATA = Path(os.environ.get("COLDLM_DATA") or "no data")
needs_files = pytest.mark.skipif(
    not (DATA / caixin.FOLDER).is_dir(), reason="caixin_news is not there"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path)


def test_every_line_once(root: Path) -> None:
    tables = read(find(root))
    assert tables.items.rows() == [("100633811", "早产儿，还能走多久"), ("100645303", '"百忧解"')]
    assert tables.users["user_id"].to_list() == ["01626", "1626", "24378"]
    assert tables.interactions.rows() == [
        (1, 0, 1393631935, 1.0, 1),
        (2, 1, 1393637577, 1.0, 2),
        (0, 1, 1393637577, 1.0, 5),
        (2, 1, 1393637578, 1.0, 4),
    ]
    assert tables.counts == {"repeated_lines": 1, "items_without_metadata": 0}


def test_news_enter_after_their_first_click_and_may_expire(root: Path) -> None:
    data = load(root=str(root), item_ttl_days=0.5, cache=str(root))
    assert (data.repeats, data.release, data.domain) == (False, "after_first", "news")
    assert data.items.texts == data.items.titles == ("早产儿，还能走多久", '"百忧解"')
    assert data.items.released_at.tolist() == [UNKNOWN, UNKNOWN]
    catalogue = Catalogue(data)
    assert catalogue.enters_at.tolist() == [1393631936, 1393637578]
    assert catalogue.leaves_at.tolist() == [1393631936 + 43_200, 1393637578 + 43_200]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-20] + b"\n", "line 5: 3 fields"),
        (lambda b: b[:-1], "line 5: no line break at its end"),
        (lambda b: b.replace(b"\t", b","), "line 1: 1 fields"),
        (
            lambda b: b"user\tnews\tseconds\theadline\tday\n" + b,
            "line 1, column 'user': 'user'; expected a number",
        ),
        (lambda b: b.replace(b"1393637577\t", b"1393637577000\t"), "line 2, column 'seconds'"),
        (lambda b: b.replace(b"\t26\n", b"\t32\n"), "line 1, column 'day': '32'"),
        (
            lambda b: b.replace("早产儿，还能走多久".encode(), b""),
            "line 1, column 'headline': nothing",
        ),
        (lambda b: b.replace("早产儿".encode(), b"\0"), "line 1: a NUL byte"),
        (lambda b: b.decode().encode("gb18030"), "line 1: not UTF-8 text"),
        (lambda b: swap(b, 1, 2), "line 1, column 'seconds'"),
        (lambda b: swap(b, 3, 4), "line 1, column 'headline'"),
    ],
)
def test_damage_is_refused(root: Path, change: Callable[[bytes], bytes], message: str) -> None:
    path = root / caixin.FOLDER / "clicks.tsv"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=rf"clicks\.tsv.*{message}"):
        read(find(root))


def test_users_and_news_that_changed_places_are_noticed_by_the_headlines(root: Path) -> None:
    path = root / caixin.FOLDER / "clicks.tsv"
    path.write_bytes(swap((CLICKS + '1626\t100645303\t1393637579\t"百忧解"\t1\n').encode(), 0, 1))
    with pytest.raises(
        DataError, match=r"clicks\.tsv, line 6: a second headline for news 1626; expected one each"
    ):
        read(find(root))


@pytest.mark.parametrize(
    "change", [lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b"\n", b"\r\n")]
)
def test_a_byte_order_mark_and_cr_lf_change_nothing(
    root: Path, change: Callable[[bytes], bytes]
) -> None:
    before, path = read(find(root)), root / caixin.FOLDER / "clicks.tsv"
    path.write_bytes(change(path.read_bytes()))
    after = read(find(root))
    assert after.interactions.equals(before.interactions)
    assert after.items.equals(before.items)
    assert after.users.equals(before.users)


def test_problems_name_keys_and_ways(root: Path, tmp_path: Path) -> None:
    assert problems(root=str(root)) == problems(root=str(root / caixin.FOLDER)) == []
    assert "neither COLDLM_DATA nor dataset.root" in problems()[0]
    [problem] = problems(root=str(tmp_path / "nothing"))
    assert "holds no clicks.tsv, nor does caixin_news/ in it" in problem
    assert "put clicks.tsv" in problem
    assert (
        len(
            problems(
                root=str(root), text="{title}", half_lives_days=[3.0, 2.0, 1.0], item_ttl_days=0.0
            )
        )
        == 3
    )


@pytest.mark.real_data
@needs_files
def test_the_published_counts(tmp_path: Path) -> None:
    data = load(root=str(DATA), cache=str(tmp_path))
    assert (len(data.log), len(data.users), len(data.items)) == (84_657, 9_235, 2_305)
    assert data.counts == {
        "repeated_lines": 93_908 - 84_657,
        "items_without_metadata": 0,
        "items_without_text": 0,
    }
    assert np.bincount(data.log.user).max() == 3_713
    length = np.array([len(text) for text in data.items.texts])
    assert length[data.log.item].mean() == pytest.approx(14.6, abs=0.05)
