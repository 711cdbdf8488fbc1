from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coldlm.core.errors import DataError
from coldlm.data.microlens import find, load, problems, read
from toys.microlens import TITLES, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path)


def test_the_tables(root: Path) -> None:
    tables = read(find(root, "50k"))
    assert tables.items.rows() == [
        ("2", 'he said "no"'),
        ("4", "看到最后 # 搞笑"),
        ("30", "Gu long song, gaga # comic"),
    ]
    assert tables.users.rows() == [("7",), ("10",)]
    second = 1_583_378_629
    assert tables.interactions.rows() == [
        (1, 0, second, 1.0, 0),
        (0, 2, second, 1.0, 1),
        (0, 0, second, 1.0, 3),
    ]
    assert tables.counts == {
        "repeated_lines": 1,
        "timestamps_cut_to_seconds": 2,
        "items_without_metadata": 0,
    }
    assert len(tables.dated) == len(tables.impressions) == 0


def test_the_data_set(root: Path, tmp_path: Path) -> None:
    data = load(root=str(root), cache=str(tmp_path / "cache"))
    assert data.items.texts == ('he said "no"', "看到最后 # 搞笑", "Gu long song, gaga # comic")
    assert (data.name, data.domain, data.repeats, data.release) == (
        "microlens_50k",
        "video",
        False,
        "after_first",
    )
    assert data.log.positive.all()
    other = load(
        edition="100k",
        root=str(root / "microlens_100k"),
        text="video: {title}",
        cache=str(tmp_path / "cache"),
    )
    assert other.name == "microlens_100k"
    assert other.items.texts[1] == "video: 看到最后 # 搞笑"


def test_seconds_are_read_as_they_are(root: Path) -> None:
    pairs, titles = find(root, "50k")
    pairs.write_text("user,item,timestamp\n1,2,1583378629\n1,30,99999999999\n")
    tables = read([pairs, titles])
    assert tables.interactions["timestamp"].to_list() == [1_583_378_629, 99_999_999_999]
    assert "timestamps_cut_to_seconds" not in tables.counts


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_titles_without_a_header(root: Path, mark: str) -> None:
    pairs, titles = find(root, "50k")
    before = read([pairs, titles])
    titles.write_text(mark + TITLES.removeprefix("item,title\n"), encoding="utf-8")
    assert read([pairs, titles]).items.equals(before.items)


def test_videos_without_a_title_are_kept_and_counted(root: Path, tmp_path: Path) -> None:
    pairs, titles = find(root, "50k")
    titles.write_text("item,title\n30,a\n")
    assert read([pairs, titles]).counts["items_without_metadata"] == 1
    data = load(root=str(root), cache=str(tmp_path / "cache"))
    assert data.items.titles == ("a", "item 2")
    assert data.counts["items_without_text"] == 1


Damage = Callable[[str], str]


@pytest.mark.parametrize(
    ("place", "damage", "message"),
    [
        (0, lambda text: text[:-3], "no line break at its end"),
        (0, lambda text: text.replace(",", "\t"), "no column 'item'"),
        (0, lambda text: text + text, "line 6: the header once more"),
        (0, lambda text: text.replace("7,30,", "7,30,7,"), "line 3: 4 fields, expected 3"),
        (0, lambda text: text.replace("7,30,", "7,3\0,"), "line 3: a NUL byte"),
        (
            0,
            lambda text: text.replace("1583378629000", "1583378629"),
            "1583378629 in data row 2; expected Unix seconds or",
        ),
        (0, lambda text: text.replace("1583378629000", "-5"), "-5 in data row 2"),
        (
            0,
            lambda text: text.replace("user,item,timestamp", "timestamp,item,user"),
            "10 in data rows 1, 2, 4",
        ),
        (
            0,
            lambda text: text.replace(",2,", ",7,").replace(",30,", ",8,"),
            "only 0 of 2 videos have a title",
        ),
        (1, lambda text: text[:-2], "no line break at its end"),
        (1, lambda text: text.replace('comic"', "comic"), "titles.csv, line "),
        (1, lambda text: text.replace("30,", "30;"), "line 2, column 'item'"),
        (
            1,
            lambda text: text.replace("4,看", "2,看"),
            "column 'item': 2; expected every video once",
        ),
        (
            1,
            lambda text: text.replace("\n4,", "\nx,"),
            "line 4, column 'item': 'x'; expected a whole number",
        ),
        (1, lambda text: text.replace("comic", "com\0c"), "line 2: a NUL byte"),
        (1, lambda text: text + text, "line 5: the header once more"),
        (1, lambda text: text.replace("item,title", "id,name"), "no column 'item'"),
        (1, lambda text: text.replace("item,title", "title,item"), "expected a whole number"),
    ],
)
def test_damage_is_refused_by_name(root: Path, place: int, damage: Damage, message: str) -> None:
    files = find(root, "50k")
    text = damage(files[place].read_text(encoding="utf-8"))
    assert text != files[place].read_text(encoding="utf-8")
    files[place].write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"MicroLens-50k_.*{message}"):
        read(files)


def test_a_byte_order_mark_and_other_line_ends_change_nothing(root: Path) -> None:
    files = find(root, "50k")
    before = read(files)
    for file in files:
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    after = read(files)
    assert after.items.equals(before.items)
    assert after.interactions.equals(before.interactions)


def test_problems(root: Path, tmp_path: Path) -> None:
    [problem] = problems()
    assert (
        "neither COLDLM_DATA nor dataset.root names a folder. coldlm data fetch microlens_50k"
        in problem
    )
    [problem] = problems(edition="50k", root=str(tmp_path / "microlens_100k"))
    assert "holds no MicroLens-50k_pairs.csv beside MicroLens-50k_titles.csv" in problem
    [problem] = problems(root=str(root), text="{title} {views}")
    assert "{views} is a later aggregate" in problem
    with pytest.raises(DataError, match="exactly 3 numbers of days"):
        load(root=str(root), half_lives_days=[1.0])
