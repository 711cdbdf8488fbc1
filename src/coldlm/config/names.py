"""Names of run folders: the user's, or made from the overrides."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from hashlib import sha256

from coldlm.core.errors import ConfigError

TELLING = (
    "debug",
    "experiment",
    "dataset",
    "backbone",
    "strategy",
    "head",
    "loss",
    "control",
    "online",
    "seed",
)
"""Overrides that come first in a run folder's name."""

MAX_NAME = 100
"""Characters of a run folder's name; longer ones are cut and end in a hash."""

MAX_BYTES = 240
"""Of the same: file systems count those, and Chinese has three to a character."""


def name_run(
    name: str | None, overrides: Sequence[str], is_cell: bool = False, swept: Collection[str] = ()
) -> str:
    """Return a run folder's name: the user's, or one made from the overrides, those that tell cells
    of a sweep apart first; a cell of a sweep always carries its overrides, and a name too long
    still shows those of the keys in ``swept``.

    >>> name_run(None, ["dataset=video/x", "dataset.text=t", "seed=2"]), name_run(None, [])
    ('dataset=video-x,seed=2,dataset.text=t', 'default')
    >>> name_run("mine", ["seed=2"], True)
    'mine,seed=2'

    Raises:
        ConfigError: a name with a slash.
    """
    if name and "/" in name:
        raise ConfigError(
            f"name={name}: a folder's own name, without slashes; output=... says where it lies"
        )
    rank = {key: i for i, key in enumerate(TELLING)}
    made = sorted(overrides, key=lambda o: (rank.get(_key(o).partition("/")[0], len(rank)), o))
    of_user = [_clean(name)] if name else []
    parts = [*of_user, *map(_part, made)] if is_cell or not name else of_user
    text = whole = ",".join(filter(None, parts)).strip(".-") or "default"
    if _fits(text, MAX_NAME):
        return text
    first = [*of_user, *(_part(o) for o in made if _key(o) in swept)]
    if not {*first} <= {*_cut(text, MAX_NAME - 9).split(",")[:-1]}:
        rest = [part for part in parts if part not in first]
        text = ",".join(filter(None, [*_shortened(first), *rest])).strip(".-")
    return f"{_cut(text, MAX_NAME - 9)}-{_digest(whole)}"


def is_hidden(override: str, hidden: Collection[str]) -> bool:
    """Return whether an override leaves a run's name: one of these keys, or a key below one of
    them."""
    key = _key(override)
    return key in hidden or key.partition(".")[0] in hidden


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _part(override: str) -> str:
    """An override as part of a name; where that lost anything of its value, with a hash of the
    whole."""
    key, equals, value = override.partition("=")
    quoted = (
        len(value) > 1
        and value[0] == value[-1]
        and value[0] in "'\""
        and value[0] not in value[1:-1]
    )
    inner = value[1:-1] if quoted else value
    part = _clean(f"{key}={inner}") if equals else _clean(key)
    # its slash may go: options differ in more than that
    is_option = "." not in key and re.fullmatch(r"[\w/-]+", value)
    if part == override or is_option:
        return part
    return f"{part}-{_digest(f'{key}={inner}')}"


def _shortened(parts: Sequence[str]) -> list[str]:
    """Parts that leave room for each other in a name, those that are cut with a hash of the
    whole."""
    room = (MAX_NAME - 9) // max(1, len(parts)) - 1
    if _fits(",".join(parts), MAX_NAME - 9):
        return list(parts)
    return [
        part if _fits(part, room) else f"{_cut(part, room - 9)}-{_digest(part)}" for part in parts
    ]


def _clean(text: str) -> str:
    return re.sub(r"[^\w=,.+~-]+", "-", text)


def _fits(text: str, length: int) -> bool:
    return len(text) <= length and len(text.encode()) <= MAX_BYTES * length // MAX_NAME


def _cut(text: str, length: int) -> str:
    """The longest beginning that fits."""
    while not _fits(text, length):
        text = text[:-1]
    return text


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]
