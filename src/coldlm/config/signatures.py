"""What a config key may hold, read from type hints; for targets from their source, which is never
imported here."""

from __future__ import annotations

import ast
import collections.abc
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from coldlm.core.columns import Range
from coldlm.core.spelling import did_you_mean

PACKAGE = Path(__file__).parents[1]

_SOURCES: dict[str, Path] = {PACKAGE.name: PACKAGE}
"""Packages whose source is read, by name: coldlm, and those of the plugins at hand."""

_NAMES: dict[str, object] = {**vars(typing), **vars(collections.abc), "Range": Range, "Path": Path}
"""What the annotation of a config key may mention, besides aliases that its module has or imports,
which come first."""


@dataclass(frozen=True)
class Field:
    """One config key: the type of its value, whether it must be given, and otherwise what it is by
    default."""

    annotation: Any
    is_required: bool = True
    default: object = None


@cache
def fields_of(target: str) -> dict[str, Field]:
    """Return the keyword-only parameters of the function, or of the class's own or inherited
    ``__init__``, that ``target`` names.

    Positional parameters are given at run time and are no config keys. The module is parsed, not
    imported.

    Raises:
        LookupError: ``target`` is not a public function or class of a module of coldlm or of a
            plugin at hand.
    """
    module, _, name = target.rpartition(".")
    found = _definitions(module).get(name)
    if name.startswith("_") or not isinstance(found, ast.FunctionDef | ast.ClassDef):
        raise LookupError(target)
    if isinstance(found, ast.ClassDef):
        module, found = _constructor(module, found)
        if found is None:
            return {}
    parameters = zip(found.args.kwonlyargs, found.args.kw_defaults, strict=True)
    return {
        p.arg: Field(
            _evaluate(p.annotation, module), default is None, default and ast.literal_eval(default)
        )
        for p, default in parameters
    }


@cache
def fields_of_dataclass(cls: type) -> dict[str, Field]:
    """Return the same for a dataclass that is at hand; its fields have no defaults, which stand in
    the config files. A field that holds what stands ``beside`` the others is no key itself."""
    beside = {field.name for field in dataclasses.fields(cls) if field.metadata.get("beside")}
    return {
        name: Field(annotation)
        for name, annotation in typing.get_type_hints(cls, include_extras=True).items()
        if name not in beside
    }


def is_defined(target: str) -> bool:
    """Return whether a module of a known package defines this name itself, as its source says."""
    module, _, name = target.rpartition(".")
    return isinstance(_definitions(module).get(name), ast.FunctionDef | ast.ClassDef | ast.expr)


def check_value(path: str, value: object, annotation: Any) -> str | None:
    """Return what is wrong with ``value`` at the key ``path``, or None: what was got, what is
    allowed, what to do."""
    if _fits(value, annotation):
        return None
    if get_origin(annotation) is list and isinstance(value, list):
        elements = (
            check_value(f"{path}[{i}]", each, get_args(annotation)[0])
            for i, each in enumerate(value)
        )
        return next(problem for problem in elements if problem)
    choices = [str(choice) for choice in _choices(annotation)]
    hint = ""
    if isinstance(value, bool) and choices:
        hint = (
            '; YAML reads a bare on, off, yes or no as a boolean: write it in quotes, such as "on"'
        )
    elif value in ("None", "none", "null") and _fits(None, annotation):
        hint = "; write null, without quotes"
    elif isinstance(value, str):
        hint = did_you_mean(value, choices, begin="; ")
    return f"{path}: got {show(value)}, allowed: {describe_type(annotation)}{hint}"


def show(value: object) -> str:
    """Return a value as YAML has it, for messages."""
    names: dict[object, str] = {None: "null", True: "true", False: "false"}
    return names[value] if value is None or isinstance(value, bool) else repr(value)


def describe_type(annotation: Any) -> str:
    """Return an annotation in words: ``a number above 0 or null``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = [_describe_range(limit) for limit in args[1:] if isinstance(limit, Range)]
        return " ".join([describe_type(args[0]), *bounds])
    if origin is Literal:
        return ", ".join(map(str, args[:-1])) + (" or " if args[1:] else "") + str(args[-1])
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe_type, args))
    if origin in (list, collections.abc.Sequence) or annotation is list:
        return "a list" + (f" with elements: {describe_type(args[0])}" if args else "")
    if origin is tuple:
        return f"a list of {len(args)}: " + ", ".join(map(describe_type, args))
    words = {
        int: "an integer",
        float: "a number",
        bool: "true or false",
        str: "text",
        Path: "a path",
        dict: "a mapping",
    }
    return (
        "null"
        if annotation in (None, type(None))
        else words.get(origin or annotation, str(annotation))
    )


def _fits(value: object, annotation: Any) -> bool:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [limit for limit in args[1:] if isinstance(limit, Range)]
        return _fits(value, args[0]) and all(_is_within(value, limit) for limit in limits)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in args)
    if origin in (Union, types.UnionType):
        return any(_fits(value, choice) for choice in args)
    if origin in (list, collections.abc.Sequence):
        return isinstance(value, list) and all(_fits(element, args[0]) for element in value)
    if origin is tuple:
        return isinstance(value, list) and len(value) == len(args) and all(map(_fits, value, args))
    if annotation is float:
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        )
    if annotation is int:
        return type(value) is int
    if annotation is Path:
        return isinstance(value, str)
    kind = origin or annotation
    return kind in (Any, object) or isinstance(value, type(None) if kind is None else kind)


def _is_within(value: object, limit: Range) -> bool:
    """Whether a number lies in the range; values that are no numbers (null) are the type's
    business."""
    if not isinstance(value, int | float):
        return True
    is_low = limit.low is not None and (value <= limit.low if limit.above else value < limit.low)
    return not is_low and (limit.high is None or value <= limit.high)


def _describe_range(limit: Range) -> str:
    low = f"{'above' if limit.above else 'from'} {limit.low:g}" if limit.low is not None else ""
    high = f"up to {limit.high:g}" if limit.high is not None else ""
    return " ".join(filter(None, [low, high]))


def _choices(annotation: Any) -> list[object]:
    """The literals that an annotation allows anywhere."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [
        choice for inner in get_args(annotation) if get_origin(inner) for choice in _choices(inner)
    ]


def read_also(sources: Mapping[str, Path]) -> None:
    """Read the source of these packages too, and of no others but coldlm; a package's folder by its
    name."""
    wanted = {PACKAGE.name: PACKAGE, **sources}
    if wanted != _SOURCES:
        _SOURCES.clear()
        _SOURCES.update(wanted)
        _definitions.cache_clear()
        fields_of.cache_clear()


@cache
def _definitions(module: str) -> dict[str, ast.AST]:
    """Functions, classes and assigned expressions at the top of a module of a known package, by
    name, and where those that it imports from such packages come from; {} if there is no such
    module."""
    package, *parts = module.split(".")
    if package not in _SOURCES or not all(part.isidentifier() for part in parts):
        return {}
    place = _SOURCES[package].joinpath(*parts)
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not path.is_file():
        return {}
    found: dict[str, ast.AST] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: node for alias in node.names}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
    return found


def _find(module: str, name: str) -> tuple[str, ast.AST | None]:
    """The module of a known package that defines ``name``, as ``module`` knows it, and its
    definition."""
    node = _definitions(module).get(name)
    if not isinstance(node, ast.ImportFrom):
        return module, node
    alias = next(alias for alias in node.names if name in (alias.asname, alias.name))
    return _find(_absolute(node, module), alias.name)


def _absolute(node: ast.ImportFrom, module: str) -> str:
    """The module that ``module`` imports from, which packages may write relative to themselves."""
    if not node.level:
        return str(node.module)
    parts = module.split(".")
    is_package = _SOURCES[parts[0]].joinpath(*parts[1:]).is_dir()
    above = parts[: len(parts) - node.level + is_package]
    return ".".join([*above, *filter(None, [node.module])])


def _constructor(module: str, cls: ast.ClassDef) -> tuple[str, ast.FunctionDef | None]:
    """``__init__`` of a class, or of the first of its bases that has one, and the module in which
    it is written."""
    for node in cls.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return module, node
    for base in cls.bases:
        where, found = _find(module, base.id) if isinstance(base, ast.Name) else (module, None)
        if (
            isinstance(found, ast.ClassDef)
            and (inherited := _constructor(where, found))[1] is not None
        ):
            return inherited
    return module, None


def _evaluate(annotation: ast.AST | None, module: str) -> Any:
    """The type that an annotation in the source of ``module`` stands for; aliases of that module
    are followed."""
    if not isinstance(annotation, ast.expr):
        return Any
    used = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    found = {name: _find(module, name) for name in used}
    aliases = {
        name: _evaluate(node, where)
        for name, (where, node) in found.items()
        if isinstance(node, ast.expr)
    }
    return eval(ast.unparse(annotation), {**_NAMES, **aliases})
