"""Titles, years and genres as MovieLens writes them, the same in all its editions."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from coldlm.core.tables import UNKNOWN, Ints
from coldlm.data.canonical.template import clean

NO_GENRES: Final = "(no genres listed)"

_YEAR = re.compile(r"^(.*)\((\d{4})\)\s*$", re.DOTALL)
_ARTICLE = re.compile(
    r"^(.+?), (The|An|A|La|Le|Les|L'|Il|Lo|El|Los|Las|Das|Der|Die|Den|Det)(?= \(|$)"
)


def split_year(title: str) -> tuple[str, int]:
    """Return the title on one line without its year, and the year, 0 if there is none.

    >>> split_year("Rustom (2016) "), split_year("Stranger Things")
    (('Rustom', 2016), ('Stranger Things', 0))
    """
    match = _YEAR.match(title)
    return (clean(match[1]), int(match[2])) if match else (clean(title), 0)


def article_first(title: str) -> str:
    """Return the article in front again; titles in parentheses stay as they are.

    >>> article_first("Lover, The (Amant, L')")
    "The Lover (Amant, L')"
    """
    match = _ARTICLE.match(title)
    if match is None:
        return title
    blank = "" if match[2].endswith("'") else " "
    return f"{match[2]}{blank}{match[1]}{title[match.end() :]}"


def list_genres(genres: str) -> str:
    """Genres as text, "" for those of a film without any.

    >>> list_genres("Animation|Children")
    'Animation, Children'
    """
    return "" if genres == NO_GENRES else clean(genres).replace("|", ", ")


def new_years(years: Ints) -> Ints:
    """Return [N] the first second of each year, UTC; ``UNKNOWN`` for the year 0."""
    return np.where(
        years > 0, (years - 1970).astype("M8[Y]").astype("M8[s]").astype(np.int64), UNKNOWN
    )
