"""Which question the commands ``export`` and ``evaluate`` are about: a folder's, or overrides'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coldlm.core.errors import ConfigError

if TYPE_CHECKING:
    from coldlm.config.schema import RunConfig
    from coldlm.runs.manifest import Manifest


def read_question(
    words: Sequence[str], *, needs_backbone: bool = False
) -> tuple[RunConfig, Manifest | None]:
    """Return the configuration of a folder (a run's, or one that ``export`` wrote), with what its
    manifest says, or the configuration that overrides make, as ``coldlm run`` has them.

    Args:
        needs_backbone: whether its checkpoint must be there; no model is made otherwise.

    Raises:
        ConfigError: overrides that cannot be used, or a folder and something beside it.
        RunFolderError: a folder that is neither.
    """
    folders = [word for word in words if "=" not in word and not word.startswith("~")]
    if not folders:
        return _compose(words, needs_backbone), None
    if len(words) > 1:
        raise ConfigError(
            f"{' '.join(words)}: give one folder, whose configuration is taken as it is, or overrides "
            "such as dataset=simulated split.train=0.6, as for coldlm run"
        )
    from coldlm.runs.manifest import read_manifest
    from coldlm.runs.resolved import read_config

    folder = Path(folders[0])
    return read_config(folder), read_manifest(folder)


def _compose(overrides: Sequence[str], needs_backbone: bool) -> RunConfig:
    from coldlm.config.build import refuse
    from coldlm.config.check import file_problems, problems
    from coldlm.config.compose import compose_plain
    from coldlm.config.schema import typed

    values = compose_plain(overrides)
    groups = ("dataset", "backbone") if needs_backbone else ("dataset",)
    files = {group: values[group] for group in groups}
    refuse([*problems(values), *file_problems(files | {"trainer": values["trainer"]})])
    return typed(values)
