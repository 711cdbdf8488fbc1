"""Options of other packages: a strategy, a reader, a metric that nobody had to fork coldlm for.

A package declares its options in a module of its own, as a tuple of ``coldlm.config.kinds``, and
is found by its name (``plugins: [PACKAGE]`` in a configuration) or by an entry point of the group
``coldlm.options``; a ``coldlm.config.schedules.Schedule`` among them gives five parts a name:

    [project.entry-points."coldlm.options"]
    coldlm_example = "coldlm_example.options:OPTIONS"

What is installed is known by its metadata alone. Nothing of a package is imported before a
configuration names it, and then its declarations only; targets are read as source, like coldlm's
own, until one of them is chosen.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from coldlm.config import options, schedules, signatures
from coldlm.config.kinds import PARTS, Baseline, Metric, Option, Strategy, Trigger
from coldlm.config.schedules import SCHEDULES, STATIC, Schedule
from coldlm.core.columns import CANARIES, LIST_METRICS, MANDATORY_BASELINES, MODEL, USER_AUC

GROUP = "coldlm.options"
"""Of the entry points of packages with options."""

NAME = re.compile(r"[A-Za-z_]\w*")

RESERVED = {
    Baseline.group: {*MANDATORY_BASELINES, *CANARIES, "own_repeats", MODEL},
    Metric.group: {
        USER_AUC,
        *LIST_METRICS,
        "query",
        "user",
        "window",
        "cohort",
        "n_item",
        "n_user",
        "slice",
    },
    # a trigger alone is what tables call a schedule; other parts are joined to it by their names
    Trigger.group: {STATIC, *(schedule.name for schedule in SCHEDULES)},
    **{
        kind.group: {name for other in PARTS if other != kind for name in options.names(other)}
        for kind in PARTS[1:]
    },
}
"""Names that results, or the tables that they are made of, use for what is not declared as an
option of the group."""


@cache
def installed() -> dict[str, str]:
    """Return package -> ``module:attribute`` of its declarations, of every installed package that
    has any."""
    return {
        point.value.partition(".")[0].partition(":")[0]: point.value
        for point in entry_points(group=GROUP)
    }


def folder_of(package: str) -> Path | None:
    """Return the folder of a package, without importing it; None if there is none."""
    try:
        spec = find_spec(package) if NAME.fullmatch(package) else None
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def config_folders(packages: Iterable[str]) -> list[Path]:
    """Return the folders ``conf`` of those packages that are there and have one."""
    folders = (folder_of(package) for package in dict.fromkeys(packages))
    return [
        folder / "conf" for folder in folders if folder is not None and (folder / "conf").is_dir()
    ]


def absence_problems(packages: Iterable[str]) -> list[str]:
    """Return what is wrong with those packages that are not there."""
    there = ", ".join(installed()) or "none"
    return [
        f"plugins: {package}: no such package is installed; install it, or take it out of plugins "
        f"(installed with options: {there})"
        for package in dict.fromkeys(packages)
        if folder_of(package) is None
    ]


def plug_problems(named: object) -> list[str]:
    """Let the options of the packages ``named`` be chosen, and of no others from here on; what is
    wrong with them."""
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        _plug(())
        return [
            f"plugins: got {named!r}, allowed: a list of names of packages, such as "
            "plugins=[coldlm_example]"
        ]
    found = absence_problems(named)
    declared: list[Option | Schedule] = []
    sources = {}
    for package in dict.fromkeys(named):
        folder = folder_of(package)
        if folder is None:
            continue
        sources[package] = folder
        try:
            declared += _declared(package)
        except Exception as error:  # a package may do anything when it is imported
            said = " ".join(f"{type(error).__name__}: {error}".split())
            found.append(
                f"plugins: {package}: its options cannot be read from {_place(package)}: {said}"
            )
    signatures.read_also(sources)
    plugged = _plug(declared)
    found += [*_name_problems(), *_target_problems(plugged)]
    found += [f"plugins: {problem}" for problem in schedules.schedule_problems()]
    if found:
        _plug(())
    return found


def _plug(declared: Sequence[Option | Schedule]) -> list[Option]:
    """Let what packages declare be used, and nothing else of other packages; their options."""
    plugged = [option for option in declared if isinstance(option, Option)]
    options.plug(plugged)
    schedules.plug([schedule for schedule in declared if isinstance(schedule, Schedule)])
    return plugged


def how_to_name(target: object) -> str:
    """Return what to do about a target that is not declared, be its package at hand, installed or
    unknown."""
    package = str(target).partition(".")[0]
    if any(option.target.startswith(f"{package}.") for option in options.plugged(Option)):
        return f"{_place(package)} does not declare it; add it there"
    if package in installed():
        return f"it is of another package: add plugins=[{package}]"
    return "nothing else is imported (an option of another package is named with plugins=[PACKAGE])"


def _place(package: str) -> str:
    """``module:attribute`` of a package's declarations."""
    return installed().get(package, f"{package}.options:OPTIONS")


def _declared(package: str) -> list[Option | Schedule]:
    module, _, attribute = _place(package).partition(":")
    declared = list(getattr(importlib.import_module(module), attribute or "OPTIONS"))
    if not declared:
        raise ValueError("it declares no option")
    for option in declared:
        if isinstance(option, Schedule):
            continue
        if not isinstance(option, Option):
            raise TypeError(f"{option!r} is none of coldlm.config.kinds")
        if not option.target.startswith(f"{package}."):
            raise ValueError(
                f"{option.group}={option.name} stands for {option.target}, which is not in "
                f"{package}"
            )
    return declared


def _name_problems() -> Iterator[str]:
    """Names that two options of a group have, or that results use for something else."""
    taken = [
        (option.group, option.name) for group in options.KINDS for option in options.every(group)
    ]
    for option in dict.fromkeys(options.plugged(Option)):
        group, name = option.group, option.name
        if taken.count((group, name)) > 1 or name in RESERVED.get(group, ()):
            package = option.target.partition(".")[0]
            yield f"plugins: {package}: {group}={name} is taken; rename the option of the package"


def _target_problems(declared: Sequence[Option]) -> Iterator[str]:
    """Options that stand for what is not there: without this, some would fail when they are used,
    hours later."""
    for option in declared:
        package = option.target.partition(".")[0]
        if not signatures.is_defined(option.target):
            yield (
                f"plugins: {package}: {option.group}={option.name} stands for {option.target}, "
                "which its source does not define; write it, or correct the declaration"
            )
        elif (
            isinstance(option, Strategy)
            and option.size
            and option.size not in signatures.fields_of(option.target)
        ):
            yield (
                f"plugins: {package}: {option.group}={option.name} is declared with "
                f"size={option.size}, which is no "
                f"keyword-only parameter of {option.target}; correct the declaration"
            )
