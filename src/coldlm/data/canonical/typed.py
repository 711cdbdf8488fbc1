"""Texts that were typed into a search box before an event: a column of interactions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from coldlm.core.tables import Ints
from coldlm.data.canonical.template import clean

COLUMN = "query"


def coded(texts: Iterable[str | None]) -> tuple[tuple[str, ...], Ints | None]:
    """Return the distinct texts, ascending, on one line each, and [E] the code of each event's, -1 where
    nothing was typed; None if nothing ever was.

    >>> coded(["red  cats", None, "", "cats", "cats"])
    (('cats', 'red cats'), array([ 1, -1, -1,  0,  0]))
    """
    typed = [clean(text) for text in texts]
    code = {text: number for number, text in enumerate(sorted(set(typed) - {""}))}
    if not code:
        return (), None
    return tuple(code), np.array([code.get(text, -1) for text in typed], np.int64)


def with_anonymous(events: pl.DataFrame, counts: dict[str, int]) -> pl.DataFrame:
    """Return the events, of ``user_id``, ``timestamp`` and perhaps ``query``, with a name for whoever typed
    something without having one: a user of their own for each second and text, who had taken nothing before
    and is not met again. ``counts`` is told of how many events."""
    if COLUMN not in events.columns:
        return events
    name, text = pl.col("user_id").cast(pl.String), pl.col(COLUMN).cast(pl.String)
    words = text.fill_null("").str.replace_all(r"[\s\x00]+", " ").str.strip_chars()
    is_own = (name.fill_null("") == "") & (words != "")
    own = pl.format("anonymous, {}, {}", pl.col("timestamp").cast(pl.String), words)
    counts["searches_without_a_user"] = int(events.select(is_own.sum()).item())
    return events.with_columns(user_id=pl.when(is_own).then(own).otherwise(name))
