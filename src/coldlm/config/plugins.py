"""Options of other packages: a strategy, a reader, a metric that nobody had to fork coldlm for.

A package declares its options in a module of its own, as a tuple of ``coldlm.config.options``, and is found by its name
(``plugins: [PACKAGE]`` in a configuration) or by an entry point of the group ``coldlm.options``:

    [project.entry-points."coldlm.options"]
    coldlm_example = "coldlm_example.options:OPTIONS"

What is installed is known by its metadata alone. Nothing of a package is imported before a configuration names it, and
then its declarations only; targets are read as source, like coldlm's own, until one of them is chosen.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from coldlm.config import options, signatures
from coldlm.config.options import Option

GROUP = "coldlm.options"
"""Of the entry points of packages with options."""

NAME = re.compile(r"[A-Za-z_]\w*")


@cache
def installed() -> dict[str, str]:
    """Return package -> ``module:attribute`` of its declarations, of every installed package that has any."""
    return {point.value.partition(".")[0].partition(":")[0]: point.value for point in entry_points(group=GROUP)}


def folder_of(package: str) -> Path | None:
    """Return the folder of a package, without importing it; None if there is none."""
    try:
        spec = find_spec(package) if NAME.fullmatch(package) else None
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def config_folders(named: Sequence[str] = ()) -> list[Path]:
    """Return the folders ``conf`` of the packages that are installed with options, and of those ``named``."""
    packages = dict.fromkeys([*installed(), *named])
    folders = (folder_of(package) for package in packages)
    return [folder / "conf" for folder in folders if folder is not None and (folder / "conf").is_dir()]


def plug_problems(named: object) -> list[str]:
    """Let the options of the packages ``named`` be chosen, and of no others from here on; what is wrong with them."""
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        options.plug(())
        return [f"plugins: got {named!r}, allowed: a list of names of packages, such as plugins=[coldlm_example]"]
    found: list[str] = []
    declared: list[Option] = []
    sources = {}
    for package in dict.fromkeys(named):
        folder = folder_of(package)
        if folder is None:
            there = ", ".join(installed()) or "none"
            found.append(f"plugins: {package}: no such package is installed; with options there are: {there}")
            continue
        sources[package] = folder
        try:
            declared += _declared(package)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            found.append(f"plugins: {package}: its options cannot be read: {error}")
    signatures.read_also(sources)
    options.plug(declared)
    taken = [(option.group, option.name) for group in options.GROUPS for option in options.every(group)]
    found += [
        f"plugins: {group}={name} is declared twice; rename the option of the package"
        for group, name in dict.fromkeys(taken)
        if taken.count((group, name)) > 1
    ]
    if found:
        options.plug(())
    return found


def _declared(package: str) -> list[Option]:
    module, _, attribute = installed().get(package, f"{package}.options:OPTIONS").partition(":")
    declared = getattr(importlib.import_module(module), attribute or "OPTIONS")
    for option in declared:
        if not isinstance(option, Option):
            raise TypeError(f"{option!r} is none of coldlm.config.options")
        if not option.target.startswith(f"{package}."):
            raise ValueError(f"{option.group}={option.name} stands for {option.target}, which is not in {package}")
    return list(declared)
