"""The command ``coldlm``: one door per task, nothing heavy imported before it is needed."""

from __future__ import annotations

import gc
import importlib
import signal
import sys
from collections.abc import Sequence

from coldlm import __version__
from coldlm.commands import COMMANDS
from coldlm.core.errors import ColdlmError, ConfigError
from coldlm.core.signals import terminate

HELP = """\
coldlm: after how many feedback events, and at what cost, does a language model recommend well?

usage: coldlm COMMAND [...]

  run         train, evaluate and update a recommender, or a sweep of them, from config files
  sweep       how the cells of a sweep stand, and another try of those that died
  tune        choose learning rates and sizes on validation, with as many trials for every strategy
  report      statistics, tables and figures from run folders
  recommend   recommend with a trained run
  update      let a finished run learn what has happened since
  serve       answer requests, take feedback and go on learning, with a page to see it
  push        a run's weights for others, in the layouts of peft and transformers, with a card
  export      what is asked, as tables for other software
  evaluate    judge scores or lists that other software wrote, as a run that reports read
  data        check data of your own; fetch, verify and describe public data sets
  completion  what the Tab key needs, for bash, zsh and fish

  coldlm run experiment=quickstart         a documented experiment
  coldlm run -m strategy=frozen,lora       a sweep
  coldlm COMMAND --help                    what a command takes
  coldlm --version
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` without the program's name.

    Returns:
        The exit status: 0, 2 for what the user can mend, 1 for failed runs, 3 for a sweep whose
        impossible cells were left out, 130 and 143 for interruptions.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, terminate)
    # what imports make stays: to look through it for garbage again and again is a seventh of a start
    gc.disable()
    try:
        return _dispatch(arguments)
    except ColdlmError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except SystemExit as stop:
        # Lightning ends a terminated training with a SystemExit of its own that carries no status
        return 143 if type(stop).__name__ == "SIGTERMException" else _status(stop.code)
    finally:
        gc.enable()


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0
    command, *rest = arguments
    if command in ("--version", "-V"):
        print(f"coldlm {__version__}")
        return 0
    if command not in COMMANDS:
        from coldlm.core.spelling import did_you_mean

        hint = did_you_mean(command, COMMANDS, end=" ")
        raise ConfigError(
            f"{command}: no such command; {hint}there are: {', '.join(COMMANDS)} (coldlm --help)"
        )
    status: int = importlib.import_module(f"coldlm.commands.{command}").main(rest)
    return status


def _status(code: object) -> int:
    if isinstance(code, str):
        print(code, file=sys.stderr)
    return code if isinstance(code, int) else int(code is not None)
