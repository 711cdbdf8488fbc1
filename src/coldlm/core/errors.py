"""The exceptions a user may meet; every message says what was got, what is allowed and what to
do."""


class ColdlmError(Exception):
    """Anything the user can mend; the command line prints its message without a traceback and exits
    2."""


class ConfigError(ColdlmError):
    """One or more problems in the configuration, all of them in one message."""


class DataError(ColdlmError):
    """A missing, malformed or contradictory input file; names file, column and row where there is
    one."""


class CheckpointError(ColdlmError):
    """A backbone that cannot be found, or whose files are not the expected ones."""


class RunFolderError(ColdlmError):
    """A run folder that belongs to another configuration, or is not a run folder."""


class ScoreError(ColdlmError):
    """A score that is not finite, or a positive that is not among its candidates."""


class Diverged(ColdlmError):
    """The training loss stopped being finite; the run is marked DIVERGED."""


class Pruned(ColdlmError):
    """A training that was stopped because others were better at the same epoch, see ``coldlm tune``."""


def first_line(error: Exception) -> str:
    """Return what an exception says, in one line."""
    return next(
        iter(str(error.args[0] if isinstance(error, KeyError) else error).splitlines()),
        type(error).__name__,
    )
