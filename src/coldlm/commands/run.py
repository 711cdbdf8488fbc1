"""``coldlm run``: one run or a sweep of them, composed by Hydra, checked before anything slow starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from coldlm.core.errors import ColdlmError, ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from coldlm.experiment.baselines import JudgedBaselines

MULTIRUN = {"-m", "--multirun"}
SHOW_ONLY = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--version", "--shell-completion", "-sc")
"""Flags of Hydra's that show something and run nothing."""

TELLING = ("experiment", "dataset", "backbone", "strategy", "head", "loss", "control", "online", "seed")
"""Overrides that come first in a run folder's name."""

MAX_NAME = 100
"""Characters of a run folder's name; longer ones are cut and end in a hash."""


@dataclass
class _Outcome:
    """What became of the runs of one command: names in order, and the exceptions of those that failed.

    ``process``: who keeps this record. ``baselines``: judged once for the cells that agree in what baselines see.
    """

    names: list[str] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    process: int = field(default_factory=os.getpid)
    baselines: JudgedBaselines | None = None


def main(arguments: Sequence[str]) -> int:
    """Hand over to Hydra, once everything that can be known to be wrong beforehand has been ruled out."""
    import hydra

    from coldlm.commands.tune import SWEEP
    from coldlm.commands.tune import main as tune
    from coldlm.config.build import refuse
    from coldlm.config.compose import CONF, PRIMARY, UNREADABLE, check_hydra, check_overrides
    from coldlm.config.search_path import with_plugins

    if SWEEP in arguments:
        return tune(arguments)
    arguments = _flags_first(arguments)
    shows_only = any(argument.split("=")[0] in SHOW_ONLY for argument in arguments)
    if shows_only and MULTIRUN & set(arguments):
        raise ConfigError("-m runs a grid, and there is a flag that only shows something: leave out one of the two")
    # Hydra's own node is looked at in any case: --help sets up its logging, and a search path imports
    refuse(check_hydra(arguments) if shows_only else check_overrides(arguments))
    outcome, program = _Outcome(), sys.argv

    def task(config: DictConfig) -> None:
        sys.argv = program  # Lightning starts the other processes of a distributed run by this command line
        _run_one(config, outcome, arguments)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves exceptions to us instead of printing and exiting
    sys.argv = [program[0], *arguments]  # Hydra reads nothing else
    try:
        with with_plugins(arguments):
            hydra.main(str(CONF), PRIMARY, version_base="1.3")(task)()
    except UNREADABLE as error:
        raise ConfigError(str(error)) from error
    finally:
        sys.argv = program
    return _conclude(outcome)


def _flags_first(arguments: Sequence[str]) -> list[str]:
    """Hydra's parser wants all overrides on one side of the flags."""
    from hydra._internal.utils import get_args_parser

    with_value = {
        flag for action in get_args_parser()._actions if action.nargs is None for flag in action.option_strings
    }
    flags, overrides, rest = list[str](), list[str](), iter(arguments)
    for argument in rest:
        if argument.startswith("-"):
            flags += [argument, *islice(rest, int(argument in with_value))]
        else:
            overrides.append(argument)
    return flags + overrides


def _run_one(config: DictConfig, outcome: _Outcome, arguments: list[str]) -> None:
    """One run of a command, or one cell of a sweep: a failure is kept, so that the other cells go on."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from coldlm.config.check import check
    from coldlm.config.compose import plain

    settings = HydraConfig.get()
    values = plain(config)
    is_cell = settings.mode == RunMode.MULTIRUN
    hidden = settings.job.config.override_dirname.exclude_keys
    name = name_run(values["name"], [o for o in settings.overrides.task if o.partition("=")[0] not in hidden], is_cell)
    values["name"] = name
    outcome.names.append(name)
    try:
        checked = check(values, Path(values["output"]) / name)
        if is_cell and checked.trainer.devices > 1:
            _run_apart([*_folder_flags(arguments), *settings.overrides.task, f"name={name!r}", "hydra.mode=RUN"])
        else:
            from coldlm.experiment.baselines import JudgedBaselines
            from coldlm.experiment.run import execute

            outcome.baselines = outcome.baselines or JudgedBaselines()
            execute(checked, name, outcome.baselines)
    except Exception as error:
        if os.getpid() != outcome.process:  # a launcher's worker: what is kept here would be lost with it
            raise
        outcome.failures[name] = error
        if not isinstance(error, ColdlmError):
            traceback.print_exc()
        elif is_cell:
            print(f"{name}: {error}", file=sys.stderr)


def _run_apart(arguments: list[str]) -> None:
    """One distributed cell in a process of its own: its process group and variables must not reach the next cell."""
    status = subprocess.run([sys.executable, "-m", "coldlm", "run", *arguments], check=False).returncode
    if status:
        raise ColdlmError(f"ended with status {status}; what it said stands above")


def _conclude(outcome: _Outcome) -> int:
    """The exit status; of a sweep with failures, also a line per run."""
    if not outcome.failures:
        return 0
    if len(outcome.names) == 1:
        error = outcome.failures[outcome.names[0]]
        if isinstance(error, ColdlmError):
            raise error
        return 1
    print(f"{len(outcome.failures)} of {len(outcome.names)} runs failed:", file=sys.stderr)
    for name in outcome.names:
        failure = outcome.failures.get(name)
        reason = f"  {type(failure).__name__}: {str(failure).partition(chr(10))[0]}" if failure else ""
        print(f"  {'FAILED' if failure else 'done':<8}{name}{reason}", file=sys.stderr)
    return 1


def name_run(name: str | None, overrides: Sequence[str], is_cell: bool = False) -> str:
    """A run folder's name: the user's, or one made from the overrides, those that tell cells of a sweep apart first; a
    cell of a sweep always carries its overrides.

    >>> name_run(None, ["dataset=video/x", "dataset.text=t", "seed=2"]), name_run(None, [])
    ('dataset=video-x,seed=2,dataset.text=t', 'default')
    >>> name_run("mine", ["seed=2"], True)
    'mine,seed=2'

    Raises:
        ConfigError: a name with a slash.
    """
    if name and "/" in name:
        raise ConfigError(f"name={name}: a folder's own name, without slashes; output=... says where it lies")
    rank = {key: i for i, key in enumerate(TELLING)}
    made = sorted(overrides, key=lambda o: (rank.get(o.partition("=")[0], len(rank)), o))
    parts = [name, *made] if is_cell or not name else [name]
    text = re.sub(r"[^\w=,.+~-]+", "-", ",".join(filter(None, parts))).strip(".-") or "default"
    if len(text) <= MAX_NAME:
        return text
    return f"{text[: MAX_NAME - 9]}-{sha256(text.encode()).hexdigest()[:8]}"


def _folder_flags(arguments: list[str]) -> list[str]:
    """The flag that adds the user's own config folder, if it is there."""
    from hydra._internal.utils import get_args

    folder = get_args(arguments).config_dir
    return ["--config-dir", folder] if folder else []
