"""``coldlm tune``: the same number of trials for every strategy, chosen from on validation, never
on the stream.

``sampler=random`` draws each by its number alone, see ``commands/around.py``; ``sampler=tpe`` lets them learn from
one another, see ``commands/study.py``.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coldlm.commands.around import Values, draw, with_values
from coldlm.commands.space import Asked, asked, put
from coldlm.config.schema import RunConfig
from coldlm.config.tree import CONF
from coldlm.core.errors import ConfigError, Diverged
from coldlm.core.files import write_file
from coldlm.core.spelling import did_you_mean
from coldlm.runs.claim import claimed

GROUP = "tuned"
"""The group of the config tree whose files hold what trials chose."""

ENDED_EARLY = ("diverged", "pruned", "failed")
"""States of trials that none is chosen from."""

SWEEP = "sweep=tune"
"""The override of ``coldlm run`` that stands for this command: a sweep whose cells are trials."""

HELP = """\
usage: coldlm tune [strategy=NAME,NAME,...] [trials=N] [seed=N,N,...] [sampler=random|tpe] [space=FILE.yaml]
                   [pruner=none|median] [group=option ...] [key=value ...]
       coldlm run sweep=tune ...                                    the same

Trains N trials of every strategy, each a run folder of its own, and keeps the best on validation; the stream is never
scored. Trials differ in the learning rate (of the backbone; of the head where the backbone is frozen) and in the
strategy's size. Without strategy=... every strategy is tuned, without trials=... with 8 trials. With several seeds a
trial is trained with each, and counts as their mean: where validation is short, one seed chooses by its luck. Other
overrides are those of coldlm run, and the same for all trials. The same command goes on where it stopped.

sampler=random, the default, draws around the configuration. sampler=tpe learns from the trials before (Optuna): from
space=FILE.yaml, which says of any keys of a training {low, high, log}, {low, high, step, int} or {choices: [...]}, else
around the configuration. It counts trials started, and so those that fail or whose process is killed. The same command
in a second process shares the work. pruner=median ends a trial whose best epoch so far is below the median of others.

files written to output (default: tuned)
  trials.csv                     every trial: what was drawn, its validation nDCG, how it ended, and its seconds
  study/trials.db                with sampler=tpe: Optuna's study of every strategy
  tuned/EXPERIMENT_NAME.yaml     the chosen values, which coldlm run --config-dir tuned takes for that experiment and
                                 strategy=NAME by itself

example: coldlm tune experiment=quickstart strategy=frozen,top trials=8
"""


@dataclass(frozen=True)
class Trial:
    """One trial of a strategy. ``values``: dotted key -> what was drawn; ``score``: validation nDCG
    of its best epoch, the mean over seeds, -inf where training diverged or did not end; ``state``: how
    it ended; ``seconds``: None where nobody knows."""

    strategy: str
    number: int
    values: Values
    score: float
    state: str = "complete"
    seconds: float | None = None


def main(argv: Sequence[str]) -> int:
    """Run ``coldlm tune`` with ``argv`` (without the program's name); 0 when every strategy was
    tuned.

    Raises:
        ConfigError: see ``parse`` and ``coldlm run``.
    """
    if not argv or argv[0] in ("--help", "-h"):
        print(HELP, end="")
        return 0
    how, others = asked(argv)
    strategies, n_trials, seeds, rest = parse(others)
    from coldlm.config.check import check
    from coldlm.config.compose import compose_plain

    bases = {name: check(compose_plain([*rest, f"strategy={name}"])) for name in strategies}
    if how.sampler == "random":
        trials = [t for name, base in bases.items() for t in tune(base, name, n_trials, seeds)]
    else:
        from coldlm.commands.study import search

        trials = search(bases, n_trials, seeds, how)
    folder = Path(next(iter(bases.values())).output)
    with claimed(folder / GROUP, waits=True):  # other processes of one study write the same
        write(folder, trials, argv, how)
    for name in strategies:
        print(summary([trial for trial in trials if trial.strategy == name]))
    print(f"\nwritten to {folder}/; use: {use(folder, strategies, rest)}")
    for name in (file_name(rest, strategy) for strategy in strategies):
        if (CONF / GROUP / f"{name}.yaml").is_file():
            print(
                f"coldlm's own {CONF / GROUP / name}.yaml comes first: replace it by "
                f"{folder / GROUP / name}.yaml"
            )
    return 0


def summary(trials: Sequence[Trial]) -> str:
    """Return what came of the trials of one strategy, and what they cost, in a line."""
    name, best = trials[0].strategy, choose(trials, trials[0].strategy)
    values = ", ".join(f"{key}={value}" for key, value in best.values.items()) or "as configured"
    known = [trial.seconds for trial in trials if trial.seconds is not None]
    ended = {state: sum(trial.state == state for trial in trials) for state in ENDED_EARLY}
    early = "".join(f", {n} {state}" for state, n in ended.items() if n)
    unknown = f" and those of {len(trials) - len(known)} more" * (len(known) < len(trials))
    return (
        f"{name}: validation nDCG {trials[0].score:.4f} as configured, {best.score:.4f} best of "
        f"{len(trials)}{early}, {sum(known):.0f} s{unknown}: {values}"
    )


def parse(argv: Sequence[str]) -> tuple[list[str], int, list[int], list[str]]:
    """Return (strategies, trials of each, seeds of each trial, the other overrides). Without any, every
    strategy has 8 trials, and no seed stands for the configuration's own.

    Raises:
        ConfigError: no trials, no such seeds, or a sweep over anything else.
    """
    from coldlm.config.plugins import config_folders
    from coldlm.config.search_path import packages_in
    from coldlm.config.tree import list_options

    there = list_options(plugins=config_folders(packages_in(argv)))["strategy"]
    given = {"strategy": ",".join(there), "trials": "8", "output": "tuned", "seed": ""}
    rest = []
    for argument in argv:
        key, _, value = argument.partition("=")
        if key in given:
            given[key] = value
        elif argument != SWEEP:
            rest.append(argument)
    strategies = [name for name in given["strategy"].split(",") if name]
    if not strategies or not given["trials"].isdecimal() or int(given["trials"]) < 1:
        raise ConfigError(
            f"coldlm tune: got strategy={given['strategy']} trials={given['trials']}, needed: "
            "names of strategies and a number of trials from 1; such as strategy=frozen,top trials=8"
        )
    seeds = [word for word in given["seed"].split(",") if word]
    if not all(word.isdecimal() for word in seeds) or len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"coldlm tune: got seed={given['seed']}, allowed: numbers from 0, each once, such as seed=1,2,3"
        )
    if unknown := [name for name in strategies if name not in there]:
        hint = did_you_mean(unknown[0], there, end=" ")
        raise ConfigError(
            f"coldlm tune: strategy={unknown[0]}: no such option; {hint}there are: {', '.join(there)}"
        )
    if wrong := [
        argument
        for argument in rest
        if argument.startswith("-") or argument.partition("=")[0] == "stages"
    ]:
        raise ConfigError(
            f"coldlm tune: {wrong[0]} is not taken; it runs the stage train, once for every trial"
        )
    if len(seeds) == 1:
        rest.append(f"seed={seeds[0]}")
    return (
        strategies,
        int(given["trials"]),
        [*map(int, seeds)],
        [*rest, f"output={given['output']}"],
    )


def tune(base: RunConfig, strategy: str, n_trials: int, seeds: Sequence[int] = ()) -> list[Trial]:
    """Carry out ``n_trials`` trials of a configuration, each with every seed, or with its own, in a run
    folder below its output; finished ones are read.

    Raises:
        ConfigError: more than one process.
    """
    refuse_devices(base)
    trials = []
    for number in range(n_trials):
        values, name = draw(base, number), f"{strategy},trial={number}"
        score = train(with_values(base, values), name, seeds)
        names = [f"{name},seed={seed}" for seed in seeds] if len(seeds) > 1 else [name]
        folders = [Path(base.output) / each for each in names]
        state = "diverged" if score == -math.inf else "complete"
        trials.append(Trial(strategy, number, values, score, state, _seconds(folders)))
    return trials


def refuse_devices(base: RunConfig) -> None:
    """Refuse more than one process for a training.

    Raises:
        ConfigError: ``trainer.devices`` is above 1.
    """
    if base.trainer.devices > 1:
        raise ConfigError(
            f"trainer.devices={base.trainer.devices}: trials run in one process; use trainer=cpu "
            "or gpu"
        )


def train(
    config: RunConfig,
    name: str,
    seeds: Sequence[int],
    judge: Callable[[float], None] | None = None,
) -> float:
    """Return the validation nDCG of a trial, the mean over seeds where there are several; -inf if one
    diverges. ``judge``: see ``experiment.run.execute``."""
    if len(seeds) < 2:
        return _train(config, name, judge)
    each = [_train(replace(config, seed=seed), f"{name},seed={seed}", judge) for seed in seeds]
    return sum(each) / len(each)


def _seconds(folders: Sequence[Path]) -> float | None:
    """Seconds that the stages of finished runs took; None if one has not finished."""
    from coldlm.runs.manifest import NAME, read_manifest

    found = [read_manifest(folder) for folder in folders if (folder / NAME).is_file()]
    if len(found) < len(folders) or any(manifest.status != "FINISHED" for manifest in found):
        return None
    return sum(seconds or 0.0 for manifest in found for seconds in manifest.seconds.values())


def _train(base: RunConfig, name: str, judge: Callable[[float], None] | None = None) -> float:
    """Validation nDCG of the best epoch of one training; -inf if it diverges."""
    from coldlm.experiment.run import execute
    from coldlm.runs.identity import open_run

    train = replace(base.train, validate=True, refit=False)
    config = replace(base, stages=["train"], name=name, train=train)
    try:
        manifest = open_run(execute(config, name, judge=judge), config)
    except Diverged:
        return -math.inf
    return float(max(next(iter((manifest.validation or {}).values()))))


def choose(trials: Sequence[Trial], strategy: str) -> Trial:
    """Return the best trial of a strategy, the earliest of equals."""
    return max(
        (trial for trial in trials if trial.strategy == strategy), key=lambda trial: trial.score
    )


def write(
    folder: Path, trials: Sequence[Trial], argv: Sequence[str], how: Asked | None = None
) -> None:
    """Write ``trials.csv``, and per strategy a file of the group ``tuned`` with the chosen values and
    the budget they were chosen with."""
    import polars as pl
    from omegaconf import OmegaConf

    rows = [
        {"strategy": t.strategy, "trial": t.number, "validation": t.score}
        | t.values
        | {"state": t.state, "seconds": t.seconds}
        for t in trials
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    write_file(folder / "trials.csv", frame.write_csv)
    (folder / GROUP).mkdir(exist_ok=True)
    for strategy in dict.fromkeys(trial.strategy for trial in trials):
        best = choose(trials, strategy)
        n_trials = sum(trial.strategy == strategy for trial in trials)
        tuning = {"trials": n_trials, "keys": list(best.values), **(how or Asked()).label}
        content: dict[str, Any] = {"tuning": tuning}
        for path, value in best.values.items():
            put(content, path, value)
        head = (
            "# @package _global_\n"
            f"# strategy={strategy}: the best of {n_trials} trials on validation\n"
            f"# command   coldlm tune {' '.join(argv)}\n"
            f"# expected  validation nDCG {best.score:.4f}, trial {best.number}\n"
        )
        (folder / GROUP / f"{file_name(argv, strategy)}.yaml").write_text(
            head + OmegaConf.to_yaml(content), encoding="utf-8"
        )


def file_name(overrides: Sequence[str], strategy: str) -> str:
    """Return the name under which ``run.yaml`` looks for what trials chose for a strategy in the
    experiment of these overrides; without one, Python's None stands for it.

    >>> file_name(["experiment=quickstart", "seed=2"], "top"), file_name([], "top")
    ('quickstart_top', 'None_top')
    """
    given = dict(override.partition("=")[::2] for override in overrides)
    return f"{given.get('experiment')}_{strategy}"


def use(folder: Path, strategies: Sequence[str], overrides: Sequence[str]) -> str:
    """Return the command that runs these strategies with what was chosen, all else as it was tuned.

    >>> use(Path("tuned"), ["frozen", "top"], ["experiment=quickstart", "output=tuned"])
    'coldlm run -m --config-dir tuned experiment=quickstart strategy=frozen,top'
    """
    words = [*(["-m"] if len(strategies) > 1 else []), "--config-dir", str(folder)]
    words += [override for override in overrides if not override.startswith("output=")]
    return shlex.join(["coldlm", "run", *words, f"strategy={','.join(strategies)}"])
