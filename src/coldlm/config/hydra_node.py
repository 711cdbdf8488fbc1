"""What may be set of Hydra's own node: a short list, since Hydra imports and calls what the rest of
it names.

Callbacks, launchers, sweepers, factories in the logging and packages on the search path run before
a run begins, and so before anything that ``config.check`` could refuse. The composed node is
compared with what it is without the user's files and overrides, so that it does not matter how
something came into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from coldlm.config.signatures import show

ALLOWED = (
    "hydra.mode",
    "hydra.verbose",
    "hydra.run",
    "hydra.sweep",
    "hydra.sweeper.params",
    "hydra.sweeper.max_batch_size",
    "hydra.output_subdir",
    "hydra.job.chdir",
    "hydra.job.name",
    "hydra.job.config.override_dirname",
    "hydra.help",
)
"""What files and overrides may set, with all below it."""

FILLED_IN = ("hydra.runtime", "hydra.overrides", "hydra.searchpath", "hydra.job.override_dirname")
"""What Hydra writes itself, over anything that a file says, or what is looked at apart."""

LAUNCHER = "hydra/launcher"
"""Hydra's own group, which the group ``launcher`` chooses from."""

SWEEPER = "hydra/sweeper"
"""Hydra's own group of those who make cells, of which coldlm takes none."""

HYDRAS = re.compile(r"[+~\s]*hydra\b")
"""The beginning of an override that is Hydra's own."""


def search_path_problem(folders: object) -> str | None:
    """Return what is wrong with a search path: composing with a package on it would import that
    package."""
    if isinstance(folders, list) and all(
        isinstance(folder, str) and folder.startswith("file://") for folder in folders
    ):
        return None
    return (
        f"hydra.searchpath: got {show(folders)}, allowed: folders, as file:///...; --config-dir "
        "DIR adds one"
    )


def override_problem(path: str, value: object) -> str | None:
    """Return what is wrong with a key or group of Hydra's own on a command line, be it one that
    Hydra knows or not; None if it may be set."""
    settable = (*ALLOWED, "hydra.searchpath")
    is_above = any(name.startswith(f"{path}.") for name in settable)
    is_fine = is_above or _is_below(path, settable)
    return None if is_fine else _refusal(path, value)


def node_problems(
    node: DictConfig, base: DictConfig, hydra: Sequence[str], task: Sequence[str]
) -> Iterator[str]:
    """Yield what a composed node of Hydra's holds that it may not.

    Args:
        base: the node as it is without the user's files and overrides.
        hydra, task: the overrides that it was composed with: files could name others, for the cells
            of a sweep.
    """
    own, usual = (OmegaConf.to_container(part, resolve=False) for part in (node, base))
    assert isinstance(own, dict)
    said = own["overrides"]
    if (said["hydra"], said["task"]) != ([*hydra], [*task]):
        yield _refusal("hydra.overrides", said)
    for path, value in _differences(own, usual, "hydra"):
        if not _is_below(path, ALLOWED + FILLED_IN):
            yield _refusal(path, value)
    params = own["sweeper"].get("params") if isinstance(own.get("sweeper"), dict) else None
    for key in params if isinstance(params, dict) else ():
        if HYDRAS.match(str(key)):
            yield (
                f"hydra.sweeper.params: got {key}, allowed: keys of the run; Hydra's own are the "
                "same for all cells"
            )


def _differences(own: Any, usual: Any, path: str) -> Iterator[tuple[str, object]]:
    """Full path and value of each leaf that is not as usual."""
    if isinstance(own, dict) and own and (isinstance(usual, dict) or usual is None):
        before = usual or {}
        for key in {**before, **own}:
            yield from _differences(own.get(key), before.get(key), f"{path}.{key}")
    elif own != usual:
        yield path, own


def _is_below(path: str, allowed: Sequence[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in allowed)


def _refusal(path: str, value: object) -> str:
    if path in (SWEEPER, "hydra.sweeper._target_") and "optuna" in str(value):
        return (
            f"{path}: got {show(value)}; Hydra's own Optuna sweeper needs optuna < 3; say coldlm tune "
            "sampler=tpe space=FILE.yaml instead"
        )
    if path == LAUNCHER or path.startswith("hydra.launcher"):
        return f"{path}: got {show(value)}; say launcher=NAME and launcher.KEY=VALUE instead"
    allowed = ", ".join(name.removeprefix("hydra.") for name in ALLOWED)
    return (
        f"{path}: got {show(value)}; leave it out: of Hydra's own only {allowed} may be set, as "
        "others could run foreign code"
    )
