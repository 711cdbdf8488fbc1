"""What may stand next on a command line of ``coldlm run``: groups, options, keys, values and
flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin

import yaml  # type: ignore[import-untyped]

from coldlm.config.plugins import config_folders, installed
from coldlm.config.schema import Node, RunConfig
from coldlm.config.signatures import Field, fields_of, fields_of_dataclass
from coldlm.config.tree import CONF, PRIMARY, list_options

FLAGS = (
    "--cfg",
    "--config-dir",
    "--help",
    "--info",
    "--multirun",
    "--resolve",
    "--skip-impossible",
)


def complete(given: Sequence[str], word: str) -> list[str]:
    """Return everything that begins with ``word`` and may follow the words ``given``, in order.

    >>> complete([], "strategy=ad"), complete(["strategy=lora"], "strategy.ra"), complete([], "seed=1,2")
    (['strategy=adalora', 'strategy=adapter'], ['strategy.rank='], [])
    """
    if word.startswith("-"):
        return [flag for flag in FLAGS if flag.startswith(word)]
    sign = word[: len(word) - len(word.lstrip("+~"))]
    return [
        sign + text
        for text in dict.fromkeys(_candidates(given, word[len(sign) :]))
        if (sign + text).startswith(word)
    ]


def fields_below(path: str, chosen: Mapping[str, str]) -> dict[str, Field]:
    """Return the keys of a group, as its option's target has them, or of one of our own parts; {}
    of a plain value.

    Args:
        path: of the group, as keys have it: ``online.trigger``.
        chosen: the option of each group.
    """
    outer, _, name = path.rpartition(".")
    field = (fields_below(outer, chosen) if outer else fields_of_dataclass(RunConfig)).get(name)
    if field is None:
        return {}
    if is_dataclass(field.annotation):
        below = fields_of_dataclass(field.annotation)  # type: ignore[arg-type]
        # of which there may be several
        several = chosen.get(path, "").strip("[]").split(",") if path == "logger" else []
        has_keys = (name for name in several if len(_read(f"{path}/{name}")) > 1)
        return below | {name: Field(Node) for name in has_keys}
    group = path.replace(".", "/")
    option = str(chosen.get(group)).split(",")[0]
    file = group if outer == "logger" else f"{group}/{option}"
    target = _read(file).get("_target_") if field.annotation == Node else None
    try:
        return fields_of(str(target))
    except LookupError:
        return {}


def default_options() -> dict[str, str]:
    """Return the option that each group has without a word."""
    chosen: dict[str, str] = {}
    for entry in _read(PRIMARY)["defaults"]:
        if isinstance(entry, dict):
            chosen |= {str(group): str(option) for group, option in entry.items()}
    return chosen


def _within(group: str, option: str) -> Iterator[tuple[str, str]]:
    """Yield the groups inside a group, and the option of each that ``option`` is made of."""
    for entry in _read(f"{group}/{option}").get("defaults") or ():
        if isinstance(entry, dict):
            for name, inner in entry.items():
                yield f"{group}/{str(name).removeprefix('override ')}", str(inner)
        elif entry != "_self_":
            yield from _within(group, str(entry))


def _candidates(given: Sequence[str], word: str) -> Iterator[str]:
    key, equals, value = word.partition("=")
    options = list_options(plugins=config_folders(installed()))
    said = dict(text.split("=", 1) for text in given if "=" in text)
    outer = default_options() | said
    chosen = dict(pair for g in outer for pair in _within(g, outer[g].split(",")[0])) | outer
    name, dot, last = key.rpartition(".")
    if equals:
        before = value[: value.rfind(",") + 1]
        field = (fields_below(name, chosen) if dot else fields_of_dataclass(RunConfig)).get(last)
        found = options[key] if key in options else _values(field.annotation) if field else []
        yield from (f"{key}={before}{each}" for each in found)
    elif dot:
        for each in fields_below(name, chosen):
            if f"{name}/{each}" not in options:
                yield f"{name}.{each}="
            elif fields_below(f"{name}.{each}", chosen):
                yield f"{name}.{each}."
    else:
        yield from (f"{group}=" for group in options)
        for each in fields_of_dataclass(RunConfig):
            if fields_below(each, chosen):
                yield f"{each}."
            elif each not in options:
                yield f"{each}="


def _values(annotation: Any) -> list[str]:
    """The words that a key may hold, where they can be listed."""
    if annotation is bool:
        return ["true", "false"]
    if annotation is type(None):
        return ["null"]
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return (
        []
        if get_origin(annotation) is list
        else [word for inner in get_args(annotation) for word in _values(inner)]
    )


def _read(name: str) -> Mapping[str, Any]:
    """A config file of ours, not composed; {} if it is not there."""
    file = CONF / f"{name}.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file.is_file() else {}
