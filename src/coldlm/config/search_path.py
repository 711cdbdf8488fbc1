"""Where Hydra looks for config files: in coldlm's own tree, and behind it in the ``conf`` folders
of plugins.

A package that is installed with options is looked into whether or not it is named, so that ``coldlm
run --help`` shows what there is; one without an entry point is if the command line names it.
coldlm's own files come first: a package adds options and changes none. Only files are read; see
``config.plugins`` for when a package is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin

from coldlm.config.plugins import config_folders, installed

KEY = "plugins"


class PluginFolders(SearchPathPlugin):
    """What Hydra asks for further folders whenever it builds its search path."""

    folders: ClassVar[Sequence[Path]] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folders at hand."""
        for folder in self.folders:
            search_path.append(KEY, str(folder))


@contextmanager
def with_plugins(arguments: Sequence[str]) -> Iterator[Sequence[Path]]:
    """Let Hydra find the config files of plugins too: of those that are installed, and those that
    these command line ``arguments`` name. Gives their folders."""
    before, PluginFolders.folders = (
        PluginFolders.folders,
        config_folders([*installed(), *packages_in(arguments)]),
    )
    Plugins.instance().register(PluginFolders)
    try:
        yield PluginFolders.folders
    finally:
        PluginFolders.folders = before


def packages_in(arguments: Sequence[str]) -> list[str]:
    """Return the packages that ``plugins=[...]`` names on a command line, in all cells of a sweep.

    >>> packages_in(["-m", "seed=1,2", "plugins=[coldlm_example],[]"])
    ['coldlm_example']
    """
    found: list[object] = []
    for argument in arguments:
        if KEY not in argument:
            continue
        try:
            override = OverridesParser.create().parse_override(argument)
        except HydraException:  # told where all overrides are looked at
            continue
        if override.key_or_group == KEY and not override.is_delete():
            values = (
                override.sweep_iterator() if override.is_sweep_override() else [override.value()]
            )
            found += [package for value in values if isinstance(value, list) for package in value]
    return [package for package in dict.fromkeys(found) if isinstance(package, str)]
