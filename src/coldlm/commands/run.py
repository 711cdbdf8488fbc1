"""``coldlm run``: one run or a sweep of them, composed by Hydra, checked before anything slow
starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from collections.abc import Collection, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from coldlm.commands.outcomes import ELSEWHERE, Outcome, conclude
from coldlm.core.errors import ColdlmError, ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from coldlm.experiment.kept import Kept

MULTIRUN = {"-m", "--multirun"}
SHOW_ONLY = (
    "--help",
    "-h",
    "--hydra-help",
    "--cfg",
    "-c",
    "--info",
    "-i",
    "--resolve",
    "--version",
    "--shell-completion",
    "-sc",
)
"""Flags of Hydra's that show something and run nothing."""

SKIP = "--skip-impossible"
"""Our own flag: a sweep's impossible cells are told and left out."""

DRY = "--dry-run"
"""Our own flag: a sweep's cells are told, with the script of a cluster's job, and none is run."""


class Shared:
    """What the cells of a sweep share in one process; heavy libraries are imported no earlier than
    it is asked for."""

    @cached_property
    def kept(self) -> Kept:
        """Return what has been made so far: nothing at first."""
        from coldlm.experiment.kept import Kept

        return Kept()


def main(arguments: Sequence[str]) -> int:
    """Let Hydra compose and run, once everything that can be known to be wrong beforehand has been ruled
    out."""
    from coldlm.commands.launch import launch, run_alone, show_cells
    from coldlm.commands.tune import SWEEP
    from coldlm.commands.tune import main as tune
    from coldlm.config.build import refuse
    from coldlm.config.compose import make_plan

    if SWEEP in arguments:
        return tune(arguments)
    skip, dry = SKIP in arguments, DRY in arguments
    arguments = _flags_first([argument for argument in arguments if argument not in (SKIP, DRY)])
    if any(argument.split("=")[0] in SHOW_ONLY for argument in arguments):
        if MULTIRUN & set(arguments):
            raise ConfigError(
                "-m runs a grid, and there is a flag that only shows something: leave out one of "
                "the two"
            )
        _show(arguments)
        return 0
    plan = make_plan(arguments, skip=skip)
    refuse(plan.problems)
    if dry:
        show_cells(plan)
        return 0
    task = partial(_run_one, arguments=arguments, swept=plan.swept, shared=Shared())
    if plan.is_sweep:
        return conclude(launch(plan, task), len(plan.impossible))
    if skip:
        raise ConfigError(f"{SKIP}: this is one run, not a sweep; leave it out")
    return conclude([run_alone(plan, task)])


def _show(arguments: Sequence[str]) -> None:
    """Let Hydra show what a flag asks for.

    Raises:
        ConfigError: overrides or flags that cannot be used.
    """
    from hydra._internal.utils import get_args

    from coldlm.config.build import refuse
    from coldlm.config.compose import make_plan
    from coldlm.config.guard import check_hydra
    from coldlm.config.quoting import unreadable

    args = get_args(list(arguments))
    if args.shell_completion:
        raise ConfigError(
            "-sc is Hydra's, and knows no commands; for the Tab key: eval \"$(coldlm completion "
            'bash)"'
        )
    refuse([problem for _, problem in unreadable(args.overrides)])
    try:
        # Hydra's own node is looked at here too: --help sets up its logging, and a search path
        # imports
        refuse(check_hydra(arguments))
        if args.help:
            _help(args.overrides, args.config_dir)
        else:
            _hand_over(arguments)
    except ConfigError:
        # in words of ours, if there are any
        refuse(make_plan([*_folder_flags(arguments), *args.overrides], shows_only=True).problems)
        raise


def _help(overrides: Sequence[str], config_dir: str | None) -> None:
    from coldlm.config.explain import explain
    from coldlm.config.guard import UNREADABLE
    from coldlm.config.overrides import one_line

    try:
        print(explain(overrides, config_dir))
    except UNREADABLE as error:
        raise ConfigError(one_line(error)) from error


def _hand_over(arguments: Sequence[str]) -> None:
    """Let Hydra show something.

    Raises:
        ConfigError: what Hydra makes of files and overrides that cannot be used.
    """
    import hydra
    from hydra._internal.utils import get_args

    from coldlm.config.guard import UNREADABLE
    from coldlm.config.overrides import one_line
    from coldlm.config.search_path import folder_override, with_plugins
    from coldlm.config.tree import CONF, PRIMARY

    program = sys.argv
    # Hydra then leaves exceptions to us instead of printing and exiting
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [program[0], *arguments]  # Hydra reads nothing else
    try:
        args = get_args(list(arguments))
        with with_plugins([*folder_override(args.config_dir), *args.overrides]):
            hydra.main(str(CONF), PRIMARY, version_base="1.3")(lambda _: None)()
    except (*UNREADABLE, ValueError) as error:  # the latter: flags that do not go together
        raise ConfigError(one_line(error)) from error
    finally:
        sys.argv = program


def _flags_first(arguments: Sequence[str]) -> list[str]:
    """Hydra's parser wants all overrides on one side of the flags, and its grammar quotes around
    some of them."""
    from hydra._internal.utils import get_args_parser

    from coldlm.config.quoting import readable

    actions = {
        flag: action for action in get_args_parser()._actions for flag in action.option_strings
    }
    flags, overrides, rest = list[str](), list[str](), list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flags.append(argument)
        action = actions.get(argument)
        if (
            action
            and rest
            and (
                action.nargs is None or (action.nargs == "?" and rest[0] in (action.choices or ()))
            )
        ):
            flags.append(rest.pop(0))
    return flags + readable(overrides)


def _run_one(
    config: DictConfig, arguments: Sequence[str], swept: Collection[str], shared: Shared
) -> Outcome:
    """One run of a command, or one cell of a sweep: a failure is kept, so that the other cells go
    on."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from coldlm.config.check import check
    from coldlm.config.compose import plain, run_folder
    from coldlm.experiment.left import what_is_left
    from coldlm.runs.claim import MOST_DEATHS, Claimed

    settings = HydraConfig.get()
    values = plain(config)
    is_cell = settings.mode == RunMode.MULTIRUN
    own = list(settings.overrides.task)
    folder = Path(values["output"])
    try:
        whole = OmegaConf.create({"hydra": settings})
        folder = run_folder(whole, values, own, is_cell=is_cell, swept=swept)
        values["name"] = name = folder.name
        checked = check(values, folder)
        if what_is_left(checked, folder) is None:
            return Outcome(folder)
        if is_cell and checked.trainer.devices > 1:
            alone = [each for each in own if not re.match(r"[+~]*launcher\b", each)]
            _run_apart([*_folder_flags(arguments), *alone, f"name={name!r}", "hydra.mode=RUN"])
        else:
            from coldlm.experiment.run import execute

            execute(checked, name, shared.kept, MOST_DEATHS if is_cell else None)
    except Claimed as error:
        return Outcome(folder, ELSEWHERE, str(error), is_ours=True)
    except Exception as error:
        is_ours = isinstance(error, ColdlmError)
        if not is_ours:
            traceback.print_exc()
        elif is_cell:
            print(f"{folder.name}: {error}", file=sys.stderr)
        return Outcome(folder, type(error).__name__, str(error), is_ours)
    return Outcome(folder)


def _run_apart(arguments: list[str]) -> None:
    """One distributed cell in a process of its own: its process group and variables must not reach
    the next cell."""
    status = subprocess.run(
        [sys.executable, "-m", "coldlm", "run", *arguments], check=False
    ).returncode
    if status:
        raise ColdlmError(f"ended with status {status}; what it said stands above")


def _folder_flags(arguments: Sequence[str]) -> list[str]:
    """The flag that adds the user's own config folder, if it is there."""
    from hydra._internal.utils import get_args

    folder = get_args(list(arguments)).config_dir
    return ["--config-dir", folder] if folder else []
