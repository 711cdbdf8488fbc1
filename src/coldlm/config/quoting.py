"""Values that Hydra's grammar cannot read: quoted where they can only mean one thing, else the form
to type is told."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

KEY = re.compile(r"(~|\+{0,2})[A-Za-z_$][\w$./@:-]*", re.ASCII)
"""What may stand before the first ``=``."""


def readable(overrides: Sequence[str]) -> list[str]:
    """Return the same overrides, those quoted that Hydra cannot read and that hold no comma, which
    might part two values.

    >>> readable(["seed=1,2", "dataset.items=数据/商品.csv", "dataset.items=数据,商品"])
    ['seed=1,2', 'dataset.items="数据/商品.csv"', 'dataset.items=数据,商品']
    """
    return [_readable(override) for override in overrides]


def problem(override: str) -> str | None:
    """Return what is wrong with how an override is written, and what to type instead; None if it
    can be read."""
    why = _unreadable(override)
    key, equals, value = override.partition("=")
    if not KEY.fullmatch(key) or (why and not equals):
        said = (
            "a key in plain letters, = and its value are needed"
            if equals
            else "there is no = in it"
        )
        return f"{override}: cannot be read as key=value: {said}; such as seed=2"
    if why is None:
        return None
    if _calls(value):
        return f"{override}: cannot be read as key=value: {why}"
    if _is_torn(value):
        form = as_typed(key, value.strip("[]'\""))
        return (
            f"{override}: cannot be read as key=value: quotes and brackets go in pairs; as "
            f"text, type {form}"
        )
    if value.startswith("["):
        inner = ",".join(_plain_or_quoted(key, part) for part in value[1:-1].split(","))
        form = shlex.quote(f"{key}=[{inner}]")
        return (
            f"{override}: cannot be read as key=value: it holds signs that need quotes; type {form}"
        )
    several = [_plain_or_quoted(key, part) for part in value.split(",")]
    as_sweep = shlex.quote(f"{key}={','.join(several)}")
    return (
        f"{override}: cannot be read as key=value: it holds signs that need quotes; as one value, "
        f"type {as_typed(key, value)}; as {len(several)} values of a sweep, {as_sweep}"
    )


def quoted(value: str) -> str:
    """Return a value in quotes, as Hydra reads it back.

    >>> quoted("{title} | {topic}"), quoted('say "no"')
    ('"{title} | {topic}"', '\\'say "no"\\'')
    """
    quote = Quote.single if '"' in value and "'" not in value else Quote.double
    text: str = QuotedString(value, quote).with_quotes()
    return text


def as_typed(key: str, value: str) -> str:
    """Return an override with one value, as it is typed in a shell.

    >>> as_typed("dataset.text", "{title}, {topic}")
    '\\'dataset.text="{title}, {topic}"\\''
    """
    return shlex.quote(f"{key}={quoted(value)}")


def unreadable(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) of every override that cannot be read."""
    for override in overrides:
        if found := problem(override):
            yield override.partition("=")[0].lstrip("+~"), found


def _readable(override: str) -> str:
    key, equals, value = override.partition("=")
    is_home = value == "~" or value.startswith("~/")
    is_plain = not equals or not KEY.fullmatch(key) or _unreadable(override) is None
    if is_plain or "," in value or value.startswith("[") or _is_torn(value) or _calls(value):
        return override
    return f"{key}={quoted(str(Path(value).expanduser()) if is_home else value)}"


def _plain_or_quoted(key: str, value: str) -> str:
    value = value.strip()
    return value if _unreadable(f"{key}={value}") is None else quoted(value)


def _is_torn(value: str) -> bool:
    """Whether a value begins or ends in a quote or bracket without its other: it is no text, but
    something broken."""
    return (
        value.startswith(("'", '"'))
        or value.endswith(("'", '"'))
        or value.startswith("[") != value.endswith("]")
    )


def _calls(value: str) -> bool:
    """Whether a value is a call of one of Hydra's functions, such as ``choice()``."""
    return value.partition("(")[0] in create_functions().definitions


@cache
def _unreadable(override: str) -> str | None:
    """What Hydra's grammar says against an override, on one line; None if nothing."""
    try:
        OverridesParser.create().parse_override(override)
    except HydraException as error:
        return " ".join(
            line.strip() for line in str(error).splitlines() if line.strip()
        ).removesuffix(".")
    return None
