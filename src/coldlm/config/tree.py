"""The config tree as files: where it is, and which options each group has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coldlm.config.options import KINDS
from coldlm.config.signatures import PACKAGE

CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"
"""The config tree: inside the installed package, or beside the source."""

PRIMARY = "run"
"""Name of the primary config."""

Options = dict[str, list[str]]
"""Options of each group."""


def list_options(config_dir: str | None = None, plugins: Sequence[Path] = ()) -> Options:
    """Return the options of each group (``video/movielens_latest_small`` of ``dataset``): ours, and
    those in the folders of ``plugins`` and in ``config_dir``."""
    options: Options = {}
    for root in [CONF, *plugins, *([Path(config_dir)] if config_dir else [])]:
        for file in sorted(root.rglob("*.yaml")):
            group, *rest = file.relative_to(root).with_suffix("").parts
            if rest and f"{group}/{rest[0]}" in KINDS:
                group, *rest = f"{group}/{rest[0]}", *rest[1:]
            if rest and not file.name.startswith("_"):  # which other files are made of
                options.setdefault(group, []).append("/".join(rest))
    return options


def folder_problem(config_dir: str | None) -> str | None:
    """Return what is wrong with the user's own config folder, None if nothing."""
    if config_dir and not Path(config_dir).is_dir():
        return f"--config-dir: got {config_dir}, which is not a folder"
    return None
