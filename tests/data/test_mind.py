from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from coldlm.core.errors import DataError
from coldlm.data.mind import find, load, problems, read
from coldlm.split import cuts
from toys.damage import swap
from toys.mind import CHINESE, news, write

DATA = Path(os.environ.get("COLDLM_DATA") or "no data")
needs_files = pytest.mark.skipif(
    not (DATA / "mind_sample").is_dir(), reason="mind_sample is not there"
)

AT = 1_573_257_673  # 11/9/2019 12:01:13 AM


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path)


def test_histories_come_a_second_before_the_log_and_clicks_at_their_impression(root: Path) -> None:
    tables = read(find(root))
    assert tables.log_starts_at == AT
    assert tables.items["item_id"].to_list() == ["N1", "N2", "N3", "N4", "N5", "N7", "N6"]
    assert tables.items["title"].to_list() == [
        '"Title" 1',
        *(f'"Title" {i}' for i in (2, 3, 4, 5, 7)),
        "",
    ]
    assert tables.users["user_id"].to_list() == ["U10", "U2"]
    afternoon, noon = AT - 73 + 13 * 3600, AT - 73 + 5 * 86_400 + 12 * 3600
    assert tables.interactions.rows() == [
        (0, 0, AT - 1, 1.0, 0),
        (0, 1, AT - 1, 1.0, 1),
        (0, 6, AT - 1, 1.0, 2),
        (0, 3, AT, 1.0, 3),
        (0, 4, AT, 1.0, 4),
        (1, 2, afternoon, 1.0, 5),
        (0, 5, noon, 1.0, 6),
        (1, 5, noon, 1.0, 7),
    ]
    assert tables.counts == {
        "news_that_differ_between_files": 0,
        "history_events_without_time": 3,
        "impressions_of_an_empty_history": 3,
        "repeated_clicks": 1,
        "items_without_metadata": 1,
    }


def test_lists_keep_their_order_and_get_numbers_of_their_own(root: Path) -> None:
    tables = read(find(root))
    assert tables.impressions.select("user", "size").rows() == [
        (0, 3),
        (1, 1),
        (0, 2),
        (1, 2),
        (1, 1),
    ]
    assert tables.shown.select("item", "clicked").rows() == [
        (2, False), (3, True), (4, True),
        (2, True),
        (3, False), (5, True),
        (5, True), (2, False),
        (5, True),
    ]  # fmt: skip
    assert tables.impressions["timestamp"][0] == AT


def test_the_data_set(root: Path) -> None:
    data = load(
        root=str(root), text="{title} | {category} | {subcategory} | {abstract}", cache=str(root)
    )
    assert (data.name, data.domain, data.repeats, data.release) == (
        "mind_small",
        "news",
        False,
        "after_first",
    )
    assert data.items.texts[0] == '"Title" 1 | news | world | About 1'
    assert data.items.titles[-1] == "item N6"
    assert len(data.hashes) == 4
    kept = load(root=str(root), cache=str(root))
    assert data.log_starts_at == kept.log_starts_at == AT


def test_the_data_set_keeps_the_lists_in_time_order(root: Path) -> None:
    data = load(root=str(root), cache=str(root))
    lists = data.impressions
    assert lists is not None
    shown = [
        [
            data.items.ids[item] + "*" * bool(clicked)
            for item, clicked in zip(items, clicks, strict=True)
        ]
        for items, clicks in zip(
            np.split(lists.item, lists.start[1:-1]),
            np.split(lists.clicked, lists.start[1:-1]),
            strict=True,
        )
    ]
    assert shown == [["N3", "N4*", "N5*"], ["N3*"], ["N4", "N7*"], ["N7*", "N3"], ["N7*"]]
    assert [data.users.ids[user] for user in lists.user] == ["U10", "U2", "U10", "U2", "U2"]
    assert lists.time.tolist() == sorted(lists.time)
    assert lists.time[0] == AT


def test_a_folder_inside_the_folder_and_a_folder_mind_are_found(root: Path, tmp_path: Path) -> None:
    before = read(find(root))
    for part in ("train", "dev"):
        there = tmp_path / "other" / "mind" / f"MINDsmall_{part}"
        there.mkdir(parents=True)
        (root / f"MINDsmall_{part}").rename(there / there.name)
    assert read(find(tmp_path / "other")).interactions.equals(before.interactions)
    assert problems(root=str(tmp_path / "other")) == []


def test_news_that_differ_between_the_files_are_counted_and_the_first_is_kept(root: Path) -> None:
    (root / "MINDsmall_dev" / "news.tsv").write_text(news(7) + news(4, title="Another"))
    tables = read(find(root))
    assert tables.counts["news_that_differ_between_files"] == 1
    assert tables.items.filter(item_id="N4")["title"].to_list() == ['"Title" 4']


def doubled(content: bytes) -> bytes:
    """The first line comes twice."""
    return content.splitlines(keepends=True)[0] + content


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train/behaviors", lambda b: b[:-20] + b"\n", "line 2: 3 fields"),
        ("train/behaviors", lambda b: b[:-1], "line 2: no line break at its end"),
        ("train/behaviors", lambda b: b.replace(b"\t", b","), "line 1: 1 fields"),
        (
            "train/behaviors",
            lambda b: b"impression\tuser\ttime\thistory\tshown\n" + b,
            "line 1, column 'impression'",
        ),
        (
            "train/behaviors",
            lambda b: b.replace(b"1:00:00 PM", b"13:00:00 PM"),
            "line 2, column 'time'",
        ),
        ("train/behaviors", lambda b: b.replace(b"N3-1", b"N3"), "line 2, column 'shown': 'N3'"),
        ("train/behaviors", lambda b: b.replace(b"\t\tN3", b"\t\0\tN3"), "line 2: a NUL byte"),
        (
            "train/behaviors",
            doubled,
            "line 2, column 'impression': '1'; expected a number, once in the file",
        ),
        ("train/behaviors", lambda b: swap(b, 3, 4), "line 1, column 'history'"),
        ("train/behaviors", lambda b: swap(b, 0, 1), "line 1, column 'impression'"),
        ("dev/behaviors", lambda b: b"", "the file is empty"),
        ("dev/news", lambda b: b[:-4], "line 3: no line break at its end"),
        (
            "dev/news",
            lambda b: b + b[:-1].split(b"\n")[0] + b"\n",
            "line 4, column 'item_id': 'N4'",
        ),
        ("dev/news", lambda b: swap(b, 0, 3), "line 1, column 'item_id'"),
        ("dev/news", lambda b: swap(b, 4, 7), "line 1, column 'abstract_entities': 'About 4'"),
    ],
)
def test_damage_is_refused(
    root: Path, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    path = root / f"MINDsmall_{name}.tsv"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=rf"MINDsmall_{name}\.tsv.*{message}"):
        read(find(root))


@pytest.mark.parametrize(
    "change", [lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b"\n", b"\r\n")]
)
def test_a_byte_order_mark_and_cr_lf_change_nothing(
    root: Path, change: Callable[[bytes], bytes]
) -> None:
    before = read(find(root))
    for path in root.rglob("*.tsv"):
        path.write_bytes(change(path.read_bytes()))
    after = read(find(root))
    assert after.interactions.equals(before.interactions)
    assert after.impressions.equals(before.impressions)
    assert after.shown.equals(before.shown)
    assert after.items.equals(before.items)


# --- xMIND ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def chinese(root: Path) -> Path:
    folder = root / "xMINDsmall" / "cmn"
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_bytes(CHINESE.encode())
    return folder


def test_translations_replace_title_and_abstract(root: Path, chinese: Path) -> None:
    data = load(
        root=str(root), language="cmn", text="{title} | {abstract} | {category}", cache=str(root)
    )
    assert data.name == "mind_small_cmn"
    assert data.items.texts[:3] == (
        "标题一 | news",
        '他说"好" | 摘要 | news',
        '"Title" 3 | About 3 | news',
    )
    assert {name: n for name, n in data.counts.items() if "transl" in name} == {
        "news_translated": 2,
        "news_not_translated": 4,
        "translations_of_other_news": 1,
    }
    assert load(root=str(root), text="{title}", cache=str(root)).items.texts[0] == '"Title" 1'


def test_translations_may_be_parquet(root: Path, chinese: Path) -> None:
    before = read(find(root, language="cmn")).items
    (chinese / "train.tsv").unlink()
    folder = root / "xMINDsmall" / "data" / "cmn"
    folder.mkdir(parents=True)
    table = pl.DataFrame(
        {"nid": ["N1", "N2"], "title": ["标题一", '他说"好"'], "abstract": [None, "摘要"]}
    )
    table.write_parquet(folder / "train.parquet.gzip", compression="gzip")
    assert read(find(root, language="cmn")).items.equals(before)
    table.rename({"nid": "id"}).write_parquet(folder / "train.parquet.gzip")
    with pytest.raises(DataError, match=r"train\.parquet\.gzip: no column 'nid'"):
        read(find(root, language="cmn"))
    (folder / "train.parquet.gzip").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"train\.parquet\.gzip: cannot be read as parquet"):
        read(find(root, language="cmn"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda b: b.replace(b"nid\ttitle", b"title\tnid"),
            "line 1: the header is missing or differs",
        ),
        (lambda b: b + b"nid\ttitle\tabstract\n", "line 5: the header once more"),
        (lambda b: b.replace("标题一".encode() + b"\t", b""), "line 2: 2 fields"),
        (lambda b: b.replace(b"N2", b"2"), "line 3, column 'nid': '2'"),
        (
            lambda b: b.replace(b"N1\t", b"N100\t").replace(b"N2\t", b"N101\t"),
            "translates none of MIND's 6 news",
        ),
    ],
)
def test_damaged_translations_are_refused(
    root: Path, chinese: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    (chinese / "train.tsv").write_bytes(change(CHINESE.encode()))
    with pytest.raises(DataError, match=message):
        read(find(root, language="cmn"))


def test_problems_name_keys_and_ways(root: Path, tmp_path: Path) -> None:
    assert problems(root=str(root)) == []
    assert "coldlm data fetch mind" in problems()[0]
    [problem] = problems(root=str(root), edition="large")
    assert "MINDlarge_train/" in problem
    assert "dataset.edition=demo, small, large or sample" in problem
    [problem] = problems(root=str(root), language="cmn")
    assert "put its unpacked files (nid, title, abstract) into xMINDsmall/cmn/" in problem
    (root / "MINDsmall_dev" / "behaviors.tsv").unlink()
    assert (
        "holds no behaviors.tsv and news.tsv in both MINDsmall_train/"
        in problems(root=str(root))[0]
    )
    assert len(problems(text="{url}", half_lives_days=[1.0], item_ttl_days=-1.0)) == 4


@pytest.mark.real_data
@needs_files
def test_the_counts_of_the_sample(tmp_path: Path) -> None:
    data = load(root=str(DATA), edition="sample", cache=str(tmp_path))
    tables = read(find(DATA, "sample"))
    assert (len(data.users), len(data.items)) == (4_494, 11_581 + 17_371 - 7_811)
    assert len(tables.impressions) == 1_673 + 4_461
    assert tables.shown["clicked"].sum() == 2_242 + 6_540
    assert len(tables.shown) == 44_781 + 130_362 + 2_242 + 6_540
    assert data.counts["history_events_without_time"] == 134_185
    assert data.counts["impressions_of_an_empty_history"] == 32 + 46
    assert len(data.log) == 134_185 + 2_242 + 6_540
    assert data.counts["repeated_clicks"] == data.counts["items_without_metadata"] == 0


@pytest.mark.real_data
@needs_files
def test_the_default_split_cuts_the_clicks_and_not_the_histories(tmp_path: Path) -> None:
    data = load(root=str(DATA), edition="sample", cache=str(tmp_path))
    part = cuts.time(data.log, data.log_starts_at).part
    clicks = 2_242 + 6_540
    assert not part[:-clicks].any()
    # a part ends at the next boundary between two seconds
    assert np.bincount(part[-clicks:]) / clicks == pytest.approx([0.7, 0.1, 0.2], abs=0.001)
    assert part[-clicks - 1 : -clicks + 1].tolist() == [0, 0]
    with pytest.raises(DataError, match="empty part"):
        cuts.time(data.log)
