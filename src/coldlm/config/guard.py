"""What keeps a command line, and the files that it names, from making Hydra import or run what is
foreign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from coldlm.config import hydra_node
from coldlm.config.overrides import one_line
from coldlm.config.search_path import SEARCH_PATH, folder_override, with_plugins
from coldlm.config.tree import CONF, PRIMARY, folder_problem

UNREADABLE = (HydraException, OmegaConfBaseException, YAMLError)
"""What composing raises for files and overrides that cannot be used."""

NOT_OF_HYDRA = (
    *("backbone", "head", "loss", "dataset", "split", "optim"),
    *("pretrain", "online", "trainer", "logger", "launcher", "control", "debug"),
)
"""Groups none of whose own files says anything of Hydra's node."""


def check_hydra(argv: Sequence[str]) -> list[str]:
    """Return what a command line that only shows something sets of Hydra's own and may not: Hydra
    acts on it all the same."""
    args = get_args(list(argv))
    if found := flag_problems(args):
        return found
    if args.shell_completion:  # nothing is composed of these overrides
        return []
    overrides = [*folder_override(args.config_dir), *args.overrides]
    with with_plugins(overrides), initialize_config_dir(str(CONF), version_base="1.3"):
        return compose_safely(overrides)[1]


def compose_safely(texts: Sequence[str]) -> tuple[DictConfig | None, list[str]]:
    """Return what Hydra makes of these overrides, and what is wrong with its own node; nothing
    foreign is imported."""
    try:
        parsed = [OverridesParser.create().parse_override(text) for text in texts]
        if found := [*before_composing(parsed)]:
            return None, found
        config = compose(PRIMARY, list(texts), return_hydra_config=True)
        lines = [
            [str(o.input_line) for o in parsed if o.is_hydra_override() == own]
            for own in (True, False)
        ]
        return config, own_problems(config, *lines)
    except UNREADABLE as error:
        return None, [one_line(error)]


def flag_problems(args: Any) -> list[str]:
    """Flags of Hydra's that bring another primary config, which may name packages, or unpickle a
    file."""
    flags = {
        "--config-path": args.config_path,
        "--config-name": args.config_name,
        "--experimental-rerun": args.experimental_rerun,
    }
    found = [
        f"{flag}: is not taken; --config-dir DIR adds a folder of config files, such as "
        "DIR/experiment/mine.yaml"
        for flag, value in flags.items()
        if value is not None
    ]
    return [*found, *filter(None, [folder_problem(args.config_dir)])]


def before_composing(overrides: Sequence[Override]) -> Iterator[str]:
    """Yield what must not even be composed with."""
    if sum(override.key_or_group == SEARCH_PATH for override in overrides) > 1:
        yield "hydra.searchpath: got more than one search path, allowed: one, or --config-dir DIR"
    for override in overrides:
        if override.key_or_group == SEARCH_PATH:
            problem = hydra_node.search_path_problem(override.value())
            if problem:
                yield problem
        elif hydra_node.HYDRAS.match(override.key_or_group) and not override.is_hydra_override():
            yield (
                f"{override.key_or_group}: Hydra's node is not set as a whole; name the key, "
                "such as hydra.verbose"
            )
        elif override.is_hydra_override():
            value = (
                str(override.input_line).partition("=")[2]
                if override.is_sweep_override()
                else override.value()
            )
            problem = hydra_node.override_problem(override.key_or_group, value)
            if problem:
                yield problem


def own_problems(config: DictConfig, hydra: Sequence[str], task: Sequence[str]) -> list[str]:
    """Return what of Hydra's own node, as composed with these overrides of its own and of the run,
    may not be there."""
    return list(hydra_node.node_problems(config.hydra, _usual(), hydra, task))


@cache
def _usual() -> DictConfig:
    """Hydra's own node without anything of the user's, and without the files that say nothing of it: to
    read them is nearly all of a composition."""
    left_out = [f"~{group}" for group in NOT_OF_HYDRA]
    node: DictConfig = compose(PRIMARY, left_out, return_hydra_config=True).hydra
    return node
