"""``coldlm run --help``: every key with its value, and what the comment in its config file says of
it."""

from __future__ import annotations

import re
import string
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, cast

import yaml  # type: ignore[import-untyped]
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from coldlm.config.compose import plain
from coldlm.config.schema import Logging, RunConfig
from coldlm.config.search_path import folder_override, with_plugins
from coldlm.config.signatures import Field, describe_type, fields_of, fields_of_dataclass
from coldlm.config.tree import CONF, PRIMARY, Options, list_options

LINE = re.compile(
    r"(?P<indent> *)(?:- )?(?P<key>[\w/]+):(?P<value>.*?)(?:(?:^|\s)# (?P<comment>.*))?$"
)
"""A key of a config file, or a group of its defaults list, with what stands behind it."""

LOGGER = "logger"
"""The group of which several options may be chosen at once, each a node below the group's own keys."""

WIDTH = 120
"""Columns of a terminal that hold a key and its comment; longer comments stand below their key."""


@dataclass(frozen=True)
class Comments:
    """What a config file says in comments: of itself, at its head, and of each key by its dotted
    path."""

    head: str
    of: dict[str, str]


def explain(overrides: Sequence[str], config_dir: str | None = None) -> str:
    """Return the help of ``coldlm run``; with ``group=option`` among the overrides, what that
    option takes instead.

    Raises:
        HydraException: overrides that cannot be used.
    """
    line = [*folder_override(config_dir), *overrides]
    with with_plugins(line) as folders, initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(PRIMARY, line, return_hydra_config=True)
    options = list_options(config_dir, folders)
    named = [key for key, _, _ in (text.partition("=") for text in overrides) if key in options]
    roots = [*([Path(config_dir)] if config_dir else []), CONF, *folders]
    if named:
        return "\n\n".join(_option(group, config, roots) for group in dict.fromkeys(named))
    return string.Template(config.hydra.help.template).safe_substitute(
        APP_CONFIG_GROUPS="".join(
            f"{group}: {', '.join(names)}\n" for group, names in options.items()
        ),
        CONFIG="\n".join(_all_keys(config, roots, options)),
    )


def read_comments(text: str) -> Comments:
    """Return the comments of a config file; one on lines of its own belongs to the key below, or to
    the file if it begins it.

    >>> read_comments("# a file\\n\\na:\\n  # one\\n  b: 1 # of b\\nc: 2\\n")
    Comments(head='a file', of={'a.b': 'one; of b'})
    """
    head, of, waiting, path = list[str](), dict[str, str](), list[str](), list[tuple[int, str]]()
    for number, line in enumerate(text.splitlines()):
        if line.lstrip().startswith("#"):
            said = line.lstrip(" #")
            (head if number == len(head) and not of else waiting).append(said)
        elif match := LINE.match(line):
            indent = len(match["indent"])
            path = [*(step for step in path if step[0] < indent), (indent, match["key"])]
            if said := "; ".join(filter(None, [" ".join(waiting), match["comment"]])):
                of[".".join(key for _, key in path)] = said
            waiting = []
        else:
            waiting = []
    return Comments("\n".join(line for line in head if not line.startswith("@")), of)


def _option(group: str, config: DictConfig, roots: Sequence[Path]) -> str:
    """One chosen option: what it is, and its keys with default, meaning and allowed values."""
    if group == LOGGER:
        return _loggers(config, roots)
    option = str(config.hydra.runtime.choices[group])
    comments, node = _comments(group, option, roots), _node(config, group)
    lines = [f"{group}={option}", *comments.head.splitlines(), ""]
    if not isinstance(node, dict):
        return "\n".join([*lines, "sets values of other groups: coldlm run --cfg job shows them"])
    fields, path = _fields(group, node), group.replace("/", ".")
    keys = [key for key in {**node, **fields} if not key.startswith("_")]
    for key in keys:
        part = f"{group}/{key}"
        if part in config.hydra.runtime.choices:
            about = comments.of.get(f"defaults.{key}", "")
            lines += [f"{part}={config.hydra.runtime.choices[part]}", f"    {about}"]
            continue
        lines += _about_key(path, key, node, fields.get(key), comments.of.get(key, ""))
    return "\n".join(lines if keys else [*lines, "takes no keys"])


def _about_key(
    path: str, key: str, node: Mapping[str, Any], field: Field | None, comment: str
) -> list[str]:
    """A key of a node with its value, and below it what it means and may hold."""
    plus = "" if key in node else "+"
    lines = _key_lines(f"{plus}{path}.{key}", node.get(key, field.default if field else None), "")
    lines += textwrap.wrap(comment, WIDTH - 6, initial_indent="    ", subsequent_indent="    ")
    return lines + ([f"    allowed: {describe_type(field.annotation)}"] if field else [])


def _loggers(config: DictConfig, roots: Sequence[Path]) -> str:
    """Those that are chosen, each with its keys, and the keys that they share."""
    node, lines = plain(config)[LOGGER], list[str]()
    for name, inner in node.items():
        if isinstance(inner, dict):
            comments, path = _comments(LOGGER, name, roots), f"{LOGGER}.{name}"
            lines += [f"{LOGGER}={name}", *comments.head.splitlines(), ""]
            for key, field in fields_of(str(inner.get("_target_"))).items():
                lines += [*_about_key(path, key, inner, field, comments.of.get(key, ""))]
            lines.append("")
    lines += ["of all loggers", ""]
    own = _comments("", PRIMARY, roots).of
    for key, field in fields_of_dataclass(Logging).items():
        lines += _about_key(LOGGER, key, node, field, own.get(f"{LOGGER}.{key}", ""))
    return "\n".join(lines)


def _all_keys(config: DictConfig, roots: Sequence[Path], options: Options) -> Iterator[str]:
    """Every key of a configuration with its value and comment; those of a group below
    ``group=option``."""
    own, values = _comments("", PRIMARY, roots), plain(config)
    for name in fields_of_dataclass(RunConfig):
        value = values.get(name)
        if not isinstance(value, dict):
            yield from _key_lines(name, value, own.of.get(name, ""))
            continue
        option = config.hydra.runtime.choices.get(name)
        has_option = name in options and name != LOGGER
        comments = _comments(name, str(option), roots) if has_option else Comments("", {})
        yield f"\n{name}:" + (f"  # {name}={option}" if has_option else "")
        for key, inner in value.items():
            if (part := f"{name}/{key}") in options:
                yield from (f"  {line}" for line in _part(part, config, comments))
                within = _comments(part, str(config.hydra.runtime.choices[part]), roots).of
                for last, each in inner.items():
                    if not last.startswith("_"):
                        yield from _key_lines(f"    {last}", each, within.get(last, ""))
            elif name == LOGGER and isinstance(inner, dict):
                its = _comments(LOGGER, key, roots)
                yield f"  {key}:  # {its.head}"
                for last, each in inner.items():
                    if not last.startswith("_"):
                        yield from _key_lines(f"    {last}", each, its.of.get(last, ""))
            elif not key.startswith("_"):
                said = comments.of.get(key) or own.of.get(f"{name}.{key}", "")
                yield from _key_lines(f"  {key}", inner, said)


def _part(group: str, config: DictConfig, said: Comments) -> list[str]:
    """The line of a group inside another: its option, and what the outer group says of it."""
    name = group.rpartition("/")[2]
    about = said.of.get(f"defaults.{name}", "")
    return [f"{name}:  # {group}={config.hydra.runtime.choices[group]}" + (about and f": {about}")]


def _node(config: DictConfig, group: str) -> object:
    """What a configuration has of a group."""
    node: object = plain(config)
    for name in group.split("/"):
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _key_lines(key: str, value: object, comment: str) -> list[str]:
    """A key with its value, and its comment beside it, or above it where there is no room."""
    shown = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10_000
    ).removesuffix("\n...\n")
    line, indent = f"{key}: {shown.strip()}", " " * (len(key) - len(key.lstrip()))
    if not comment:
        return [line]
    if len(line) + len(comment) + 4 <= WIDTH:
        return [f"{line}  # {comment}"]
    above = textwrap.wrap(comment, WIDTH - len(indent) - 2)
    return [*(f"{indent}# {part}" for part in above), line]


def _comments(group: str, option: str, roots: Sequence[Path]) -> Comments:
    files = (root / group / f"{option}.yaml" for root in roots)
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return Comments("", {})
    text = file.read_text(encoding="utf-8")
    own, shared = read_comments(text), dict[str, str]()
    for name in yaml.safe_load(text).get("defaults") or ():
        # keys that several files share: of another folder, or of this one
        if str(name).endswith("@_here_"):
            shared |= _comments("", str(name).partition("@")[0].strip("/"), roots).of
        elif str(name) == "_base":
            shared |= _comments(group, "_base", roots).of
    return Comments(own.head, shared | own.of)


def _fields(group: str, node: Mapping[str, Any]) -> dict[str, Field]:
    """The keys that a part of a configuration may have."""
    field = fields_of_dataclass(RunConfig).get(group)
    if field and is_dataclass(field.annotation):
        return fields_of_dataclass(cast(type, field.annotation))
    try:
        return fields_of(str(node.get("_target_")))
    except LookupError:
        return {}
