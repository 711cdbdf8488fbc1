"""What can be wrong with the launcher of a sweep, before any of its cells runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from coldlm.config.kinds import Launcher
from coldlm.config.options import chosen, targets
from coldlm.config.signatures import show

PLAIN = re.compile(r"[\w.,:/@&|*-]*")
"""What a word in a launcher's settings may be: it ends up in a script."""


def launcher_problems(launcher: Mapping[str, Any]) -> Iterator[str]:
    """Yield a launcher whose package is not installed, and words in its settings that are more than
    words."""
    option = chosen(Launcher, launcher)
    if option.package and not _is_installed(option.package):
        yield (
            f"launcher={option.name}: the package is not installed; pip install "
            f'"coldlm[{option.extra}]", or launcher=process'
        )
    for key, value in launcher.items():
        if key != "_target_" and isinstance(value, str) and not PLAIN.fullmatch(value):
            yield (
                f"launcher.{key}: got {show(value)}, allowed: letters, digits and any of "
                "_ . , : / @ & | * -"
            )


def lone_launcher(launcher: object) -> Iterator[str]:
    """Yield a launcher that a single run names."""
    if isinstance(launcher, dict) and launcher.get("_target_") in targets("launcher"):
        option = chosen(Launcher, launcher)
        if option.name != "basic":
            yield f"launcher={option.name}: it carries out the cells of a sweep; add -m, or leave it out"


def swept_launcher(swept: Sequence[str]) -> Iterator[str]:
    """Yield the launcher as an axis of a sweep."""
    for key in swept:
        if key.partition(".")[0] == "launcher":
            yield f"{key}: the launcher is the same for all cells of a sweep; give it one value"


def _is_installed(package: str) -> bool:
    """Whether a package of ``hydra_plugins`` is there, which may itself not be."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False
