from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coldlm.core.errors import DataError
from coldlm.data import lastfm_1k
from coldlm.data.lastfm_1k import find, load, problems, read
from toys.damage import swap
from toys.lastfm_1k import A, T, write

AT = 1_241_478_537  # 2009-05-04T23:08:57Z


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path)


def test_artists(root: Path) -> None:
    tables = read(find(root), "artist")
    assert tables.items.rows() == [
        (A, "The old band", ""),
        ("name:Sigur Rós", "Sigur Rós", ""),
        ("name:sigur rós", "sigur rós", ""),
    ]
    assert tables.users["user_id"].to_list() == ["user_000001", "user_000002", "user_000003"]
    assert tables.interactions.rows() == [
        (1, 0, AT - 1, 1.0, 4),
        (0, 0, AT, 1.0, 1),
        (0, 0, AT + 1, 1.0, 3),
        (1, 1, AT + 2, 1.0, 5),
        (1, 2, AT + 2, 1.0, 6),
        (2, 0, AT + 4, 1.0, 9),
    ]
    assert tables.counts == {
        "plays_of_no_item": 1,
        "plays_dated_2010_or_later": 1,
        "plays_of_items_without_id": 2,
        "further_names_of_an_item": 1,
        "repeated_lines": 1,
        "items_without_metadata": 0,
    }


def test_tracks(root: Path) -> None:
    tables = read(find(root), "track")
    assert tables.items.rows() == [
        (T, "The old band", "The song"),
        ("name:Sigur Rós\tOther song", "Sigur Rós", "Other song"),
        ('name:The "Band\tOther song', 'The "Band', "Other song"),
        ("name:sigur rós\tOther song", "sigur rós", "Other song"),
    ]
    assert tables.interactions.select("user", "item", "event_id").rows() == [
        (1, 0, 4), (0, 0, 1), (0, 2, 2), (0, 0, 3), (1, 1, 5), (1, 3, 6),
    ]  # fmt: skip
    assert tables.counts["plays_of_no_item"] == 2
    assert tables.counts["plays_of_items_without_id"] == 3
    assert tables.counts["repeated_lines"] == 0


def test_items_repeat_and_the_default_text_fits_both_levels(root: Path) -> None:
    artists, tracks = (
        load(root=str(root), level=level, cache=str(root)) for level in ("artist", "track")
    )
    assert artists.repeats
    assert (artists.name, artists.domain, artists.release) == (
        "lastfm_1k_artist",
        "music",
        "after_first",
    )
    assert artists.items.texts == artists.items.titles == ("The old band", "Sigur Rós", "sigur rós")
    assert (tracks.name, tracks.items.texts[0], tracks.items.titles[0]) == (
        "lastfm_1k_track",
        "The song | The old band",
        "The song",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-3] + b"\n", "line 9: 4 fields"),
        (lambda b: b[:-1], "line 9: no line break at its end"),
        (lambda b: b.replace(b"\t", b";"), "line 1: 1 fields"),
        (
            lambda b: b"user\ttime\tartid\tartname\ttraid\ttraname\n" + b,
            "line 1, column 'user': 'user'",
        ),
        (lambda b: b.replace(b"04T23", b"34T23", 1), "line 1, column 'time': '2009-05-34"),
        (lambda b: b.replace(b"Sigur", b"Sig\0ur"), "line 5: a NUL byte"),
        (lambda b: b.decode().encode("latin-1"), "line 5: not UTF-8 text"),
        (
            lambda b: swap(b, 2, 3),
            "8 of 8 artist ids are none of MusicBrainz's; expected the columns",
        ),
        (lambda b: swap(b, 0, 1), "line 1, column 'user'"),
    ],
)
def test_damage_is_refused(root: Path, change: Callable[[bytes], bytes], message: str) -> None:
    (path,) = find(root)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        read([path], "artist")


@pytest.mark.parametrize(
    "change", [lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b"\n", b"\r\n")]
)
def test_a_byte_order_mark_and_cr_lf_change_nothing(
    root: Path, change: Callable[[bytes], bytes]
) -> None:
    before, (path,) = read(find(root), "track"), find(root)
    path.write_bytes(change(path.read_bytes()))
    after = read([path], "track")
    assert after.interactions.equals(before.interactions)
    assert after.items.equals(before.items)


def test_problems_name_keys_and_ways(root: Path, tmp_path: Path) -> None:
    assert problems(root=str(root)) == problems(root=str(root / lastfm_1k.FOLDER)) == []
    assert "coldlm data fetch lastfm_1k" in problems()[0]
    assert "holds no userid-timestamp" in problems(root=str(tmp_path / "nothing"))[0]
    [problem] = problems(root=str(root), text="{track}")
    assert "artists have no {track}" in problem
    assert problems(root=str(root), text="{track}", level="track") == []
    assert (
        len(
            problems(
                root=str(root), text="{tags}", half_lives_days=[1.0, 1.0, 2.0], item_ttl_days=-1.0
            )
        )
        == 3
    )
