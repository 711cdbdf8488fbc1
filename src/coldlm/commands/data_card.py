"""What a data set is like, one line per fact."""

from __future__ import annotations

import importlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from coldlm.core.dates import iso
from coldlm.data.sources.catalogue import SOURCES, Source

if TYPE_CHECKING:
    from coldlm.core.tables import Dataset

SCRIPTS = {
    "CJK": "Chinese, Japanese",
    "HIRAGANA": "Chinese, Japanese",
    "KATAKANA": "Chinese, Japanese",
}
SAMPLE = 2_000
"""Texts whose letters are looked at for the languages of a data card."""


def card(name: str, overrides: Sequence[str]) -> list[str]:
    """Return the data card, one line per fact.

    Raises:
        ConfigError, DataError: a key that does not exist, or no usable files.
    """
    from coldlm.config.check import check
    from coldlm.experiment.world import make_world

    config = check(checked(name, overrides))
    world = make_world(config)
    module = importlib.import_module(str(config.dataset["_target_"]).rpartition(".")[0])
    return [
        *_about_source(name, SOURCES[name], getattr(module, "BANNED", {})),
        *about_data(world.data),
        *about_stream(world),
    ]


def _about_source(name: str, source: Source, banned: dict[str, str]) -> list[str]:
    seen = (
        f"its reader was run on real files: {source.seen}"
        if source.seen
        else "FORMAT UNVERIFIED: made-up files only"
    )
    where = "; ".join(
        [*(remote.url for remote in source.files), *([source.by_hand] if source.by_hand else [])]
    )
    lines = [f"# {name}", f"from: {where}", f"terms: {source.terms}", f"format: {seen}"]
    if banned:
        lines.append(
            f"banned fields: {'; '.join(f'{field} ({why})' for field, why in banned.items())}"
        )
    return lines


def about_data(data: Dataset) -> list[str]:
    """Return its sizes, times, texts and policies."""
    import numpy as np

    log = data.log
    first, last = (iso(t) for t in (log.time[0], log.time[-1]))
    characters = np.array([len(text) for text in data.items.texts])
    return [
        f"domain: {data.domain}; items {'repeat' if data.repeats else 'do not repeat'}; release: "
        f"{data.release}",
        f"{len(data.users):,} users, {len(data.items):,} items, {len(log):,} events, "
        f"{int(log.positive.sum()):,} of them positive",
        *_about_lists(data),
        *_about_queries(data),
        f"times: {first} to {last} UTC, {len(np.unique(log.time)):,} distinct",
        "events before the log, whose times are made up: "
        f"{int((log.time < data.log_starts_at).sum()):,}",
        f"item texts: {characters.mean():.1f} characters on average, "
        f"{int((characters == 0).sum()):,} empty; letters: {letters(data.items.texts)}",
        f"policies: {', '.join(f'{name} {n:,}' for name, n in data.counts.items() if n) or 'none applied'}",
        *(f"sha256 {digest}  {file}" for file, digest in data.hashes.items()),
    ]


def _about_lists(data: Dataset) -> list[str]:
    lists = data.impressions
    if lists is None:
        return []
    return [
        f"lists as shown: {len(lists):,} with {len(lists.item):,} items, "
        f"{int(lists.clicked.sum()):,} clicked"
    ]


def _about_queries(data: Dataset) -> list[str]:
    if data.log.query is None:
        return []
    return [
        f"typed before {int((data.log.query >= 0).sum()):,} events: {len(data.users.queries):,} different "
        f"texts; letters: {letters(data.users.queries)}"
    ]


def letters(texts: Sequence[str]) -> str:
    """Return shares of the scripts among the letters of some texts, evenly drawn."""
    step = max(1, len(texts) // SAMPLE)
    seen = Counter(
        SCRIPTS.get(word, word.capitalize())
        for text in texts[::step]
        for letter in text
        if letter.isalpha() and (word := unicodedata.name(letter, "OTHER").split()[0])
    )
    total = max(1, sum(seen.values()))
    return ", ".join(f"{script} {n / total:.0%}" for script, n in seen.most_common(3)) or "none"


def about_stream(world: Any) -> list[str]:
    """Return how a ``World`` is cut, and what is asked of whom."""
    import numpy as np

    from coldlm.split.queries import count_queries, others_would_drop

    stream, log = world.stream, world.data.log
    user = np.repeat(world.cold_users[stream.user], np.diff(stream.start))
    item = world.cold_items[log.item[stream.event]]
    n_user = world.as_of.n_user(stream.user, stream.time)
    others = others_would_drop(stream, log, world.cold_users, world.cold_items, n_user)
    n = max(1, len(stream.event))
    cohorts = {
        "warm_warm": ~user & ~item,
        "cold_user": user & ~item,
        "cold_item": ~user & item,
        "cold_both": user & item,
    }
    typed = count_queries(world.data, world.seen_query, stream)
    said = ", ".join(f"{name} {number:,}" for name, number in typed.items())
    return [
        *([f"typed texts: {said}"] if typed else []),
        f"split: {world.split} of {len(stream):,} queries, {n:,} positives",
        f"cohorts: {', '.join(f'{name} {rows.sum() / n:.1%}' for name, rows in cohorts.items())}",
        f"not asked: {', '.join(f'{why} {k:,}' for why, k in stream.counts.items() if k) or 'none'}",
        f"other evaluators' defaults would drop {others['any']:,} of {others['of']:,} "
        f"({others['any'] / n:.0%})",
    ]


def checked(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a data set.

    Raises:
        ConfigError: a key or value that does not exist.
    """
    from coldlm.config.build import refuse
    from coldlm.config.check import problems
    from coldlm.config.compose import compose_plain

    config = compose_plain([f"dataset={option_of(name)}", "backbone=random_vectors", *overrides])
    refuse(problems(config))
    return config


def option_of(name: str) -> str:
    """Return ``video/movielens_1m`` for ``movielens_1m``."""
    from coldlm.config.tree import list_options

    return next(option for option in list_options()["dataset"] if option.rpartition("/")[2] == name)
