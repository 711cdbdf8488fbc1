"""Toy files of the reader ``movielens_editions``, small enough to check by eye."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from coldlm.data.movielens_editions import EDITIONS

Csv = Literal["20m", "25m", "32m", "latest-small-2018"]

CSV: tuple[Csv, ...] = ("20m", "25m", "32m", "latest-small-2018")


def item(start: str, *genres: int) -> str:
    return start + "".join(f"|{int(place in genres)}" for place in range(19)) + "\n"


FILES = {
    "ratings.csv": "userId,movieId,rating,timestamp\n2,10,4.0,1262304000\n2,9,0.5,1000\n10,10,3.5,1262304001\n"
    "10,8,5.0,1000\n",
    "movies.csv": 'movieId,title,genres\n10,"Princess and the Frog, The '
    '(2009)",Animation|Children\n'
    '9,"11\'09""01 (2002) ",(no genres listed)\n8,Babylon 5,Sci-Fi\n7,Nobody\'s (1950),Drama\n',
    "tags.csv": "userId,movieId,tag,timestamp\n2,10,frog,100\n3,10,Disney,200\n4,10,Disney,300\n4,10,,300\n"
    '2,99,lost,5\n5,8,"a, ""b""",50\n6,10,c,400\n6,10,d,401\n6,10,e,402\n6,10,f,403\n',
    "u.data": "2\t1\t4\t881250949\n2\t3\t1\t881250948\n1\t2\t5\t881250948\n",
    "u.item": item("1|Misérables, Les (1995)|01-Jan-1995||http://x", 1)
    + item("2|unknown|||", 0)
    + item('3|Chasing "Amy" (1997)|4-Feb-1998||http://x', 16, 18),
    "u.user": "1|24|M|technician|85711\n2|53|F|other|94043\n",
    "ratings.dat": "2::1::4::978300760\n2::3::1::978300759\n1::1::5::978300759\n",
    "movies.dat": "1::Misérables, Les (1995)::Drama|Musical\n3::Star Wars: Episode IV - A New Hope "
    "(1977)::Sci-Fi\n",
    "users.dat": "1::F::1::10::48067\n2::M::56::0::70072\n",
}


def write(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with made-up editions, and a reader that takes their sizes for the published
    ones."""
    small = {"20m": (4, 2, 4, 10), "100k": (3, 2, 3, 0), "1m": (3, 2, 2, 0)}
    small |= dict.fromkeys(CSV, small["20m"])
    for name, (ratings, users, films, tags) in small.items():
        known = replace(EDITIONS[name], ratings=ratings, users=users, films=films, tags=tags)
        monkeypatch.setitem(EDITIONS, name, known)
        folder = root / known.folders[-1]
        folder.mkdir()
        for file in known.files + known.more:
            encoding = "utf-8" if file.endswith(".csv") else "latin-1"
            (folder / file).write_bytes(FILES[file].encode(encoding))
    return root
