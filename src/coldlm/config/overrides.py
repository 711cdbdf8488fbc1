"""Overrides as they are typed: which can be used, and the values that each stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override

from coldlm.config import quoting
from coldlm.config.schema import RunConfig
from coldlm.config.tree import Options
from coldlm.core.spelling import did_you_mean

NEEDED = {field.name for field in fields(RunConfig)}
"""Groups that a run cannot do without, and keys."""


def parse(
    parser: OverridesParser, texts: Sequence[str], options: Options
) -> tuple[list[Override], list[str]]:
    """Return the overrides that can be used, and what is wrong with the others: syntax, or an
    option that is not there."""
    overrides, found = [], []
    for text in texts:
        if unreadable := quoting.problem(text):
            found.append(unreadable)
            continue
        override = parser.parse_override(text)
        wrong = list(_option_problems(override, options))
        found += wrong
        if not wrong:
            overrides.append(override)
    return overrides, found


def texts_of(override: Override, options: Options) -> list[str]:
    """Return one ``key=value`` per value of a sweep; one where it is none."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    value: object = override.value()
    if isinstance(value, Glob):
        return [
            f"{key}={option}" for option in value.filter(options.get(override.key_or_group, []))
        ]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def one_line(error: Exception) -> str:
    """Return an exception of Hydra's on one line, without its pointer to the documentation."""
    lines = str(error).splitlines()
    return " ".join(
        line.strip() for line in lines if line.strip() and not line.startswith("See http")
    )


def _option_problems(override: Override, options: Options) -> Iterator[str]:
    group = override.key_or_group
    if override.is_interval_sweep():
        yield (
            f"{override.input_line}: interval() names no values to run; give some, by commas, "
            "range() or choice() (coldlm tune draws values)"
        )
        return
    value: object = override.value()
    if isinstance(value, Glob) and (group not in options or not value.filter(options[group])):
        there = (
            f"there are: {', '.join(options[group])}"
            if group in options
            else f"{group} is no group of options"
        )
        yield (
            f"{override.input_line}: glob() stands for the options that it fits, and fits none; "
            f"{there}"
        )
        return
    if group not in options or override.is_delete() or isinstance(value, Glob):
        return
    values = list(override.sweep_iterator()) if override.is_sweep_override() else value
    for each in values if isinstance(values, list) else [values]:
        if each not in options[group] and (each is not None or group in NEEDED):
            hint = did_you_mean(str(each), options[group], end=" ")
            got = "null" if each is None else each
            of_others = "" if hint else "; one of another package needs plugins=[PACKAGE]"
            yield (
                f"{group}={got}: no such option; {hint}there are: {', '.join(options[group])}"
                f"{of_others}"
            )
