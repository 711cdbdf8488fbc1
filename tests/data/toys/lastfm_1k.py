"""Toy files of the reader ``lastfm_1k``, small enough to check by eye."""

from __future__ import annotations

from pathlib import Path

from coldlm.data import lastfm_1k

A, B, T = (f"{letter * 8}-0000-0000-0000-000000000000" for letter in "abc")

PLAYS = (
    f'user_000001\t2009-05-04T23:08:57Z\t{A}\tThe "Band\t{T}\tSong\n'
    # the same artist in the same second
    f'user_000001\t2009-05-04T23:08:57Z\t{A}\tThe "Band\t\tOther song\n'
    f'user_000001\t2009-05-04T23:08:58Z\t{A}\tThe "Band\t{T}\tSong\n'
    # what it was called first
    f"user_000002\t2009-05-04T23:08:56Z\t{A}\tThe old band\t{T}\tThe song\n"
    f"user_000002\t2009-05-04T23:08:59Z\t\tSigur Rós\t\tOther song\n"
    f"user_000002\t2009-05-04T23:08:59Z\t\tsigur rós\t\tOther song\n"  # another artist
    f"user_000003\t2013-09-29T18:32:04Z\t{B}\tLater\t{T}\tSong\n"  # a wrong clock
    f"user_000003\t2009-05-04T23:09:00Z\t\t\t\tSong\n"  # nobody's
    f'user_000003\t2009-05-04T23:09:01Z\t{A}\tThe "Band\t\t\n'  # no track
)


def write(root: Path) -> Path:
    (root / lastfm_1k.FOLDER).mkdir()
    (root / lastfm_1k.FOLDER / lastfm_1k.FILES[0]).write_bytes(PLAYS.encode())
    return root
