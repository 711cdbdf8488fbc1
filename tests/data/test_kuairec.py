from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coldlm.core.errors import DataError
from coldlm.data.kuairec import find, load, problems, read
from toys.kuairec import CAPTIONS, write


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write(tmp_path, monkeypatch)


def test_the_tables(root: Path) -> None:
    tables = read(find(root, "big"))
    assert tables.items.rows() == [
        ("5", "", "", "", ""),
        ("148", "回车 在这里", "五爱市场, 感谢快手", "高新数码", "五爱街最美美女"),
        ("3649", '精神小伙路难走 程哥你狗粮慢点撒, "哈哈"', "", "颜值 > 颜值随拍", ""),
        ("99", "", "", "", ""),
    ]
    assert tables.items.columns == ["item_id", "caption", "topics", "category", "cover"]
    assert tables.users.rows() == [("2",), ("14",)]
    assert tables.interactions.rows() == [
        (1, 1, 1_593_898_068, 0.72, 0),
        (1, 1, 1_593_898_068, 0.73, 3),
        (0, 3, 1_593_898_068, 573.5, 6),
        (0, 2, 1_593_898_080, 2.0, 1),
    ]
    assert tables.counts == {
        "views_without_time": 1,
        "views_before_1970": 1,
        "repeated_views": 1,
        "captions_with_broken_characters": 0,
        "items_without_metadata": 1,
    }


def test_the_data_set(root: Path, tmp_path: Path) -> None:
    data = load(root=str(root), cache=str(tmp_path / "cache"))
    assert data.items.texts == (
        "",
        "回车 在这里 | 高新数码",
        '精神小伙路难走 程哥你狗粮慢点撒, "哈哈" | 颜值 > 颜值随拍',
        "",
    )
    assert data.items.titles[0] == "item 5"
    assert data.log.positive.tolist() == [False, False, True, True]
    assert (data.name, data.domain, data.repeats, data.release) == (
        "kuairec",
        "video",
        False,
        "after_first",
    )
    assert data.counts["items_without_text"] == 2
    all_fields = load(
        root=str(root), text="{cover}；{topics}", positive_from=0.73, cache=str(tmp_path / "cache")
    )
    assert all_fields.items.texts[1:3] == ("五爱街最美美女；五爱市场, 感谢快手", "")
    assert all_fields.log.positive.tolist() == [False, True, True, True]
    small = load(root=str(root), matrix="small", cache=str(tmp_path / "cache"))
    assert (small.name, small.users.ids) == ("kuairec_small", ("2", "7"))


def test_broken_characters_are_counted_and_many_refused(root: Path) -> None:
    files = find(root, "big")
    broken = CAPTIONS.encode().replace("回车".encode(), "回车".encode()[:-1])
    files[1].write_bytes(broken)
    with pytest.raises(DataError, match="line 4: not UTF-8 text, like 1 of 3 rows"):
        read(files)
    more = "".join(f"{i},UNKNOWN,视频,[],1,a,1,b,1,c\n" for i in range(4_000, 4_100))
    files[1].write_bytes(broken + more.encode())
    tables = read(files)
    assert tables.counts["captions_with_broken_characters"] == 1
    assert tables.items["caption"][1] == "回\ufffd 在这里"


def _too_many_users(content: bytes) -> bytes:
    return content + "".join(f"{i},1,1,1,,,1593898068,1\n" for i in range(100, 7_277)).encode()


Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("place", "damage", "message"),
    [
        (0, lambda c: c[: c.rindex(b"2,99")], "6 views, 7 were published: cut short"),
        (0, lambda c: c[:-3], "no line break at its end"),
        (0, lambda c: c.replace(b",", b";"), "no column 'timestamp'"),
        (0, lambda c: c + c, "line 9: the header once more"),
        (0, lambda c: c.replace(b"2,148,13838", b"2,148"), "line 6: 7 fields, expected 8"),
        (0, lambda c: c.replace(b",573.5", b",573.5,1"), "line 8: 9 fields, expected 8"),
        (
            0,
            lambda c: c.replace(b",573.5", b","),
            "line 8, column 'watch_ratio': nothing; expected a number",
        ),
        (
            0,
            lambda c: c.replace(b",573.5", b",inf"),
            "line 8, column 'watch_ratio': 'inf'; expected a number",
        ),
        (0, lambda c: c.replace(b",573.5", b",-1"), "column 'watch_ratio': -1 in data row 7"),
        (0, lambda c: c.replace(b",2.0", b",2\0"), "line 3: a NUL byte"),
        (
            0,
            lambda c: c.replace(b"1593898080.057,", b"1593898080057,"),
            "column 'timestamp': 1.5939e.12 in data row 2",
        ),
        (
            0,
            lambda c: c.replace(b"timestamp,watch_ratio", b"watch_ratio,timestamp"),
            "column 'watch_ratio'",
        ),
        (
            0,
            lambda c: c.replace(b",573.5", b",1593898068.4"),
            "'watch_ratio': 1.5939e.09 in data row 7",
        ),
        (0, _too_many_users, "7,179 users, 2 were published; are user_id and video_id swapped"),
        (1, lambda c: c.replace(b"caption,", b"video_id,"), "column 'video_id' appears twice"),
        (1, lambda c: c[:-3], "no line break at its end"),
        (1, lambda c: c[: c.index(b"\xe7\xa8\x8b")], "line 2: "),
        (1, lambda c: c.replace(b'""",[]', b'"",[]'), "line [0-9]: "),
        (
            1,
            lambda c: c.replace(b"\n148,", b"\n5,"),
            "line 5, column 'video_id': 5; expected every video once",
        ),
        (
            1,
            lambda c: c.replace(b"\n148,", b"\n,"),
            "line 4, column 'video_id': nothing; expected a whole number",
        ),
        (1, lambda c: c.replace(b"27,", b"27"), "line 4: 9 fields, expected 10"),
        (1, lambda c: c.replace(b"-124", b"\0"), "line 3: a NUL byte"),
        (1, lambda c: c.replace(b"caption,", b"title,"), "no column 'caption'"),
        (1, lambda c: c.decode().encode("utf-16"), "a NUL byte|no line break"),
    ],
)
def test_damage_is_refused_by_name(root: Path, place: int, damage: Damage, message: str) -> None:
    files = find(root, "big")
    content = damage(files[place].read_bytes())
    assert content != files[place].read_bytes()
    files[place].write_bytes(content)
    with pytest.raises(DataError, match=rf"{files[place].name}.*({message})"):
        read(files)


def test_a_byte_order_mark_and_other_line_ends_change_nothing(root: Path) -> None:
    files = find(root, "big")
    before = read(files)
    for file in files:
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    after = read(files)
    assert after.items.equals(before.items)
    assert after.interactions.equals(before.interactions)


def test_problems(root: Path) -> None:
    [problem] = problems()
    assert (
        "neither COLDLM_DATA nor dataset.root names a folder. By hand: unpack KuaiRec.zip"
        in problem
    )
    (root / "kuairec_caption_category.csv").unlink()
    [problem] = problems(root=str(root))
    assert (
        "holds no big_matrix.csv and kuairec_caption_category.csv, neither itself nor in KuaiRec "
        "2.0/data" in problem
    )
    [problem] = problems(
        root=str(root), matrix="small", text="{caption}", half_lives_days=[1.0, 7.0, 30.0]
    )
    assert "small_matrix.csv" in problem
    found = problems(root=str(root), text="{caption} {like_cnt}", item_ttl_days=0)
    assert len(found) == 3
    assert "{like_cnt} is a later aggregate" in found[0]
    with pytest.raises(DataError, match=r"KuaiRec\.zip"):
        load(root=str(root))
