"""Everything that can be wrong with a configuration, told at once and before anything slow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

from coldlm.config.build import is_allowed, refusal, refuse
from coldlm.config.combinations import combination_problems, device_problems, logger_problems
from coldlm.config.hints import is_of_another_option, meant_by
from coldlm.config.kinds import Logger
from coldlm.config.launchers import launcher_problems
from coldlm.config.options import names
from coldlm.config.plugins import plug_problems
from coldlm.config.schema import Logging, Node, RunConfig, typed
from coldlm.config.signatures import (
    Field,
    check_value,
    fields_of,
    fields_of_dataclass,
    is_defined,
    show,
)
from coldlm.models.backbones import checkpoints

ABSENT = object()
"""Stands for a key that is not there."""

MISSING = "???"
"""How OmegaConf writes a value that must be set."""


def check(values: dict[str, Any], folder: Path | None = None) -> RunConfig:
    """Return a configuration, given as a plain resolved dict, or refuse it before any download or
    model load.

    Args:
        values: the whole configuration.
        folder: the run folder, which must exist if the stages do not begin with training.

    Raises:
        ConfigError: lists every problem.
    """
    found = problems(values) + file_problems(values)
    stages = values.get("stages")
    trains = isinstance(stages, list) and {"pretrain", "train"} & {*map(str, stages[:1])}
    if folder is not None and isinstance(stages, list) and not trains and not folder.exists():
        found.append(
            f"stages: got {', '.join(map(str, stages)) or 'none'}, but there is no trained run in "
            f"{folder}; add train, or name a run folder that has been trained"
        )
    refuse(found)
    return typed(values)


def problems(config: Mapping[str, object]) -> list[str]:
    """Return unknown and missing keys, wrong values, targets that are not allowed, impossible
    combinations."""
    if found := plug_problems(config.get("plugins")):
        return found
    paths = known_paths(config)
    known = fields_of_dataclass(RunConfig)
    by_key = {
        key: list(_value_problems(key, config.get(key, ABSENT), field, paths))
        for key, field in known.items()
    }
    sound = {
        key: _complete(config[key]) for key, found in by_key.items() if key in config and not found
    }
    unknown = _unknown_keys(config, known, "", paths)
    return [*unknown, *chain.from_iterable(by_key.values()), *combination_problems(sound)]


def file_problems(config: Mapping[str, object]) -> list[str]:
    """Data, checkpoints and logger packages that are not there, for nodes that are in order
    otherwise."""
    nodes = {group: config.get(group) for group in ("dataset", "backbone", "launcher")}
    if isinstance(loggers := config.get("logger"), dict):
        nodes |= {f"logger.{name}": loggers.get(name) for name in names(Logger)}
    sound = {
        g: n for g, n in nodes.items() if isinstance(n, dict) and not list(_node_problems(g, n, []))
    }
    keys = {g: {k: v for k, v in n.items() if k != "_target_"} for g, n in sound.items()}
    found: list[str] = []
    if "dataset" in sound:
        module = sound["dataset"]["_target_"].rpartition(".")[0]
        if is_defined(f"{module}.problems"):
            found += importlib.import_module(module).problems(**keys["dataset"])
            if found:
                found[-1] += _what_was_found_there(config.get("published"))
    if "backbone" in sound and sound["backbone"]["_target_"] == "coldlm.models.backbone.load":
        found += checkpoints.problems(**keys["backbone"])
    if "launcher" in sound:
        found += launcher_problems(sound["launcher"])
    for group, node in sound.items():
        if group.startswith("logger."):
            found += logger_problems(node)
    return found + device_problems(config.get("trainer"))


def _what_was_found_there(published: object) -> str:
    """What a paper says of data that is missing, where one is named."""
    if not isinstance(published, dict) or not (values := published.get("values")):
        return ""
    return f"\n    {published.get('source')} found there: {', '.join(map(str, values))}"


def known_paths(config: Mapping[str, object]) -> list[str]:
    """Return the full paths of all keys that this configuration's schema and targets know."""
    return list(_paths(fields_of_dataclass(RunConfig), config, ""))


def _paths(fields: Mapping[str, Field], values: Mapping[str, object], prefix: str) -> Iterator[str]:
    for name, field in fields.items():
        path, node = f"{prefix}{name}", values.get(name)
        yield path
        inner = node if isinstance(node, dict) else {}
        if is_dataclass(field.annotation):
            yield from _paths(_fields_in(field.annotation, inner), inner, f"{path}.")
        elif field.annotation == Node and is_allowed(inner.get("_target_"), path):
            yield from _paths(fields_of(str(inner["_target_"])), {}, f"{path}.")


def _fields_in(cls: Any, values: Mapping[str, object]) -> dict[str, Field]:
    """The keys of a part of the configuration, and the loggers among its ``values``."""
    fields = fields_of_dataclass(cast(type, cls))
    named = names(Logger) if cls is Logging else ()
    return fields | {name: Field(Node) for name in named if name in values}


def missing_keys(config: Mapping[str, object]) -> list[str]:
    """Return the full paths of the keys that the present schema and targets know and ``config`` lacks,
    also those with a default: in the configuration of a run they are choices that nobody made."""

    def is_there(path: str) -> bool:
        value: object = config
        for key in path.split("."):
            value = value.get(key, ABSENT) if isinstance(value, dict) else ABSENT
        return value is not ABSENT

    return [path for path in known_paths(config) if not is_there(path)]


def _complete(value: object) -> object:
    """A thing with its target's defaults for the keys that it leaves out; values as they are."""
    if not isinstance(value, dict):
        return value
    if "_target_" not in value:
        return {key: _complete(inner) for key, inner in value.items()}
    return {key: field.default for key, field in fields_of(value["_target_"]).items()} | value


def _unknown_keys(
    values: Mapping[str, object], known: Mapping[str, Field], prefix: str, paths: list[str]
) -> Iterator[str]:
    for key in (key for key in values if key not in known):
        path = f"{prefix}{key}"
        allowed = f"allowed here: {', '.join(known) or 'nothing'}; ~{path} leaves it out"
        meant = meant_by(path, paths)
        if meant and is_of_another_option(path):
            meant = f"{meant}; {allowed}"
        yield f"{path}: unknown key; {meant or allowed}"


def _key_problems(
    values: Mapping[str, object], known: Mapping[str, Field], prefix: str, paths: list[str]
) -> Iterator[str]:
    yield from _unknown_keys(values, known, prefix, paths)
    for key, field in known.items():
        yield from _value_problems(f"{prefix}{key}", values.get(key, ABSENT), field, paths)


def _value_problems(path: str, value: object, field: Field, paths: list[str]) -> Iterator[str]:
    if value is ABSENT or value == MISSING:
        if field.is_required or value == MISSING:
            yield f"{path}: missing; it must be set"
    elif field.annotation != Node and not is_dataclass(field.annotation):
        if problem := check_value(path, value, field.annotation):
            yield problem
    elif not isinstance(value, dict):
        yield f"{path}: got {show(value)}, allowed: a mapping of keys to values"
    elif field.annotation == Node:
        yield from _node_problems(path, value, paths)
    else:
        yield from _key_problems(value, _fields_in(field.annotation, value), f"{path}.", paths)


def _node_problems(group: str, node: Mapping[str, object], paths: list[str]) -> Iterator[str]:
    target = node.get("_target_")
    if not is_allowed(target, group):
        yield refusal(group, target)
        return
    keys = {key: value for key, value in node.items() if key != "_target_"}
    yield from _key_problems(keys, fields_of(str(target)), f"{group}.", paths)
