"""Toy files of the reader ``movielens``, small enough to check by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldlm.data import movielens

MOVIES = """movieId,title,genres
10,"Princess and the Frog, The (2009)",Animation|Children
9,Rustom (2016) ,(no genres listed)
8,Hyena Road,(no genres listed)
"""

RATINGS = """userId,movieId,rating,timestamp
2,10,4.0,1262304000
10,9,3.5,1262304001
2,9,5.0,1000
10,8,4.5,1000
"""


def write(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with four ratings, and a reader that takes four ratings of two users for the
    whole edition."""
    monkeypatch.setattr(movielens, "N_RATINGS", 4)
    monkeypatch.setattr(movielens, "N_USERS", 2)
    (root / "ml-latest-small").mkdir()
    (root / "ml-latest-small" / "movies.csv").write_text(MOVIES, encoding="utf-8")
    (root / "ml-latest-small" / "ratings.csv").write_text(RATINGS, encoding="utf-8")
    return root
