"""Toy files of the reader ``lastfm_2k``, small enough to check by eye."""

from __future__ import annotations

from pathlib import Path

from coldlm.data import lastfm_2k

ARTISTS = (
    'id\tname\turl\tpictureURL\n7\t"Weird Al" Yankovic\thttp://a\thttp://b\n07\tSigur Rós\t\t\n'
)

TAGS = "tagID\ttagValue\r\n1\tmetal\r\n2\ttropicália\r\n"

TAGGED = (
    "userID\tartistID\ttagID\tday\tmonth\tyear\r\n"
    "2\t7\t1\t1\t3\t2009\r\n"  # a further tag
    "2\t7\t2\t1\t1\t2009\r\n"  # the first one, though it stands below
    "3\t7\t1\t1\t2\t2009\r\n"
    "3\t07\t1\t1\t6\t1956\r\n"  # a wrong month, so the next line is the event
    "3\t07\t1\t1\t3\t2009\r\n"
    "3\t9\t5\t1\t2\t2009\r\n"  # neither artist nor tag has a name
)


def write(root: Path) -> Path:
    inside = root / lastfm_2k.FOLDER
    inside.mkdir()
    (inside / "artists.dat").write_bytes(ARTISTS.encode())
    (inside / "tags.dat").write_bytes(TAGS.encode("latin-1"))
    (inside / "user_taggedartists.dat").write_bytes(TAGGED.encode())
    return inside
