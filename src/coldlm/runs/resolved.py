"""``config.resolved.yaml``: the configuration of a run, as it was carried out."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from coldlm.config.check import missing_keys, problems
from coldlm.config.plugins import plug_problems
from coldlm.config.schema import RunConfig, typed, under_todays_keys
from coldlm.core.errors import RunFolderError, first_line
from coldlm.core.files import write_file
from coldlm.runs.manifest import ANEW

NAME = "config.resolved.yaml"


def write_config(folder: Path, config: RunConfig) -> None:
    """Write the configuration of the run in ``folder``."""
    text = OmegaConf.to_yaml(OmegaConf.create(config.plain()))
    write_file(folder / NAME, lambda part: part.write_text(text, encoding="utf-8"))


def read_config(folder: Path) -> RunConfig:
    """Return the resolved configuration of a run folder, of this version or an earlier one with the
    same choices.

    Raises:
        RunFolderError: it is missing or damaged, was written by a version with other keys, or names
            plugins that are not installed.
    """
    file = folder / NAME
    try:
        config = OmegaConf.to_container(OmegaConf.load(file))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise RunFolderError(f"{file} cannot be read ({first_line(error)}): {ANEW}") from error
    if not isinstance(config, dict):
        raise RunFolderError(f"{file} holds no configuration: {ANEW}")
    named = under_todays_keys({str(key): value for key, value in config.items()})
    if absent := plug_problems(named["plugins"]):  # before the keys of their options are looked for
        raise RunFolderError(
            f"{folder} was made with packages that are not at hand: {'; '.join(absent)}; install "
            "them"
        )
    if unknown := [*missing_keys(named), *problems(named)]:
        raise RunFolderError(
            f"{folder} was made by another version of coldlm, whose configuration differs: "
            f"{'; '.join(unknown[:3])}"
            + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
            + f". {ANEW[0].upper()}{ANEW[1:]}"
        )
    return typed(named)
