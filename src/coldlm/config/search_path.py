"""Where Hydra looks for config files: in coldlm's own tree, and behind it in the ``conf`` folders
of plugins.

A package that is installed with options is looked into whether or not it is named, so that ``coldlm
run --help`` shows what there is; one without an entry point is if the command line names it, or an
experiment or sweep that it chooses.
coldlm's own files come first: a package adds options and changes none. Only files are read; see
``config.plugins`` for when a package is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import yaml  # type: ignore[import-untyped]
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin

from coldlm.config.plugins import config_folders, installed
from coldlm.config.tree import CONF

KEY = "plugins"

SEARCH_PATH = "hydra.searchpath"
"""Hydra's own key for more folders of config files."""


class PluginFolders(SearchPathPlugin):
    """What Hydra asks for further folders whenever it builds its search path."""

    folders: ClassVar[Sequence[Path]] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folders at hand."""
        for folder in self.folders:
            search_path.append(KEY, str(folder))


@contextmanager
def with_plugins(overrides: Sequence[str]) -> Iterator[Sequence[Path]]:
    """Let Hydra find the config files of plugins too: of those that are installed, and those that
    these ``overrides`` name. Gives their folders."""
    before, PluginFolders.folders = (
        PluginFolders.folders,
        config_folders([*installed(), *packages_in(overrides)]),
    )
    Plugins.instance().register(PluginFolders)
    try:
        yield PluginFolders.folders
    finally:
        PluginFolders.folders = before


def folder_override(config_dir: str | None) -> list[str]:
    """Return the user's own config folder as an override."""
    return [f"{SEARCH_PATH}=['{Path(config_dir).absolute().as_uri()}']"] if config_dir else []


def packages_in(overrides: Sequence[str]) -> list[str]:
    """Return the packages that ``plugins`` names in these overrides, in all cells of a sweep, and
    in the files that they choose: an experiment can bring its package along.

    >>> packages_in(["-m", "seed=1,2", "plugins=[coldlm_example],[]"])
    ['coldlm_example']
    """
    values = list(_values(overrides))
    own = [folder for key, value in values if key == SEARCH_PATH for folder in _folders(value)]
    roots = [CONF, *own, *config_folders(installed())]
    said = [(key, value) for key, value in values if key == KEY]  # which wins over any file
    return list(dict.fromkeys(_packages(said or values, roots, set())))


def _values(overrides: Sequence[str]) -> Iterator[tuple[str, object]]:
    """(key, value) of each override, one for each cell of a sweep."""
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:  # told where all overrides are looked at
            continue
        # the latter two name nothing by themselves
        if (
            override.is_delete()
            or override.is_interval_sweep()
            or isinstance(override.value(), Glob)
        ):
            continue
        for value in override.sweep_iterator() if override.is_sweep_override() else [None]:
            yield override.key_or_group, override.value() if value is None else value


def _packages(
    values: Iterable[tuple[str, object]], roots: Sequence[Path], seen: set[str]
) -> Iterator[str]:
    for key, value in values:
        if key == KEY and isinstance(value, list):
            yield from (each for each in value if isinstance(each, str))
        elif isinstance(value, str) and (name := f"{key}/{value}") not in seen:
            yield from _packages(_chosen_by(name, roots), roots, seen | {name})


def _chosen_by(name: str, roots: Sequence[Path]) -> Iterator[tuple[str, object]]:
    """What a file that sets keys of the whole configuration says of plugins, and chooses."""
    files = [root / f"{name}.yaml" for root in roots]
    file = next((file for file in files if file.is_file()), None)
    try:
        text = file.read_text(encoding="utf-8") if file else ""
        content = yaml.safe_load(text) if "@package _global_" in text else None
    except (OSError, ValueError, yaml.YAMLError):  # told where it is composed
        return
    if not isinstance(content, dict):
        return
    yield KEY, content.get(KEY)
    entries = content.get("defaults")
    for entry in entries if isinstance(entries, list) else ():
        pairs = entry.items() if isinstance(entry, dict) else [(name.rpartition("/")[0], entry)]
        for group, option in pairs:
            yield str(group).split(" ")[-1].strip("/"), option


def _folders(search_path: object) -> Iterator[Path]:
    """The folders of a search path of Hydra's."""
    for each in search_path if isinstance(search_path, list) else ():
        if str(each).startswith("file://"):
            yield Path(url2pathname(urlsplit(str(each)).path))
