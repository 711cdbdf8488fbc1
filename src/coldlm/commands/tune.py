"""``coldlm tune``: the same number of trials for every strategy, chosen from on validation, never
on the stream.

Trial 0 is the configuration as it stands. Every other one takes another learning rate, log-uniform
within a factor of ``REACH``, and another size of the strategy (rank, layers, ...), halves and
doubles of it. The rate is the backbone's, or the head's where nothing of the backbone trains; the
head's is thus chosen first, under strategy=frozen, and the same for all. Trials spread evenly
however few they are, and differ by their number alone: all strategies get the same multiples of
their own rate.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coldlm.config.kinds import Strategy
from coldlm.config.options import chosen
from coldlm.config.schema import RunConfig, typed
from coldlm.config.tree import CONF
from coldlm.core.errors import ConfigError, Diverged
from coldlm.core.spelling import did_you_mean

REACH = 10.0
"""The largest factor by which a learning rate is raised or lowered."""

STEPS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Factors of the strategy's own key."""

SPREAD = (0.7548776662466927, 0.5698402909980532)
"""Steps, modulo 1, of a sequence whose first points lie evenly in the square, however many they
are: 1 / p and 1 / p^2 with p^3 = p + 1 (R2, Roberts 2018)."""

GROUP = "tuned"
"""The group of the config tree whose files hold what trials chose."""

SWEEP = "sweep=tune"
"""The override of ``coldlm run`` that stands for this command: a sweep whose cells are trials."""

HELP = """\
usage: coldlm tune [strategy=NAME,NAME,...] [trials=N] [seed=N,N,...] [group=option ...] [key=value ...]
       coldlm run sweep=tune ...                                    the same

Trains N trials of every strategy, each a run folder of its own, and keeps the best on validation; the stream is never
scored. Trials differ in the learning rate (of the backbone; of the head where the backbone is frozen) and in the
strategy's size. Without strategy=... every strategy is tuned, without trials=... with 8 trials. With several seeds a
trial is trained with each, and counts as their mean: where validation is short, one seed chooses by its luck. Other
overrides are those of coldlm run, and the same for all trials. The same command goes on where it stopped.

files written to output (default: tuned)
  trials.csv                     every trial: what was drawn, and its validation nDCG
  tuned/EXPERIMENT_NAME.yaml     the chosen values, which coldlm run --config-dir tuned takes for that experiment and
                                 strategy=NAME by itself

example: coldlm tune experiment=quickstart strategy=frozen,top trials=8
"""


@dataclass(frozen=True)
class Trial:
    """One trial of a strategy. ``values``: dotted key -> what was drawn; ``score``: validation nDCG
    of its best epoch, the mean over seeds, -inf where training diverged."""

    strategy: str
    number: int
    values: dict[str, float | int]
    score: float


def main(argv: Sequence[str]) -> int:
    """Run ``coldlm tune`` with ``argv`` (without the program's name); 0 when every strategy was
    tuned.

    Raises:
        ConfigError: see ``parse`` and ``coldlm run``.
    """
    if not argv or argv[0] in ("--help", "-h"):
        print(HELP, end="")
        return 0
    strategies, n_trials, seeds, rest = parse(argv)
    from coldlm.config.check import check
    from coldlm.config.compose import compose_plain

    bases = {name: check(compose_plain([*rest, f"strategy={name}"])) for name in strategies}
    trials = [t for name, base in bases.items() for t in tune(base, name, n_trials, seeds)]
    folder = Path(next(iter(bases.values())).output)
    write(folder, trials, n_trials, argv)
    for name in strategies:
        best, first = (
            choose(trials, name),
            next(trial for trial in trials if trial.strategy == name),
        )
        values = (
            ", ".join(f"{key}={value}" for key, value in best.values.items()) or "as configured"
        )
        print(
            f"{name}: validation nDCG {first.score:.4f} as configured, {best.score:.4f} best of "
            f"{n_trials}: {values}"
        )
    print(f"\nwritten to {folder}/; use: {use(folder, strategies, rest)}")
    for name in (file_name(rest, strategy) for strategy in strategies):
        if (CONF / GROUP / f"{name}.yaml").is_file():
            print(
                f"coldlm's own {CONF / GROUP / name}.yaml comes first: replace it by "
                f"{folder / GROUP / name}.yaml"
            )
    return 0


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
    if base.trainer.devices > 1:
        raise ConfigError(
            f"trainer.devices={base.trainer.devices}: trials run in one process; use trainer=cpu "
            "or gpu"
        )
    trials = []
    for number in range(n_trials):
        values, name = draw(base, number), f"{strategy},trial={number}"
        config = with_values(base, values)
        if len(seeds) > 1:
            each = [_train(replace(config, seed=seed), f"{name},seed={seed}") for seed in seeds]
        else:
            each = [_train(config, name)]
        trials.append(Trial(strategy, number, values, sum(each) / len(each)))
    return trials


def _train(base: RunConfig, name: str) -> float:
    """Validation nDCG of the best epoch of one training; -inf if it diverges."""
    from coldlm.experiment.run import execute
    from coldlm.runs.identity import open_run

    train = replace(base.train, validate=True, refit=False)
    config = replace(base, stages=["train"], name=name, train=train)
    try:
        manifest = open_run(execute(config, name), config)
    except Diverged:
        return -math.inf
    return float(max(next(iter((manifest.validation or {}).values()))))


def draw(base: RunConfig, number: int) -> dict[str, float | int]:
    """Return dotted key -> value of a trial; none for the first, which is ``base`` itself."""
    from coldlm.config.check import problems

    if not number:
        return {}
    high, large = ((0.5 + number * step) % 1 for step in SPREAD)
    rate = "body_lr" if chosen(Strategy, base.strategy).trains else "lr"
    values: dict[str, float | int] = {
        f"optim.{rate}": float(f"{base.optim[rate] * REACH ** (2 * high - 1):.3g}")
    }
    if key := own_key(base.strategy):
        sizes = sorted({max(1, int(base.strategy[key] * step)) for step in STEPS})
        allowed = [
            size
            for size in sizes
            if not problems(with_values(base, {f"strategy.{key}": size}).plain())
        ]
        values[f"strategy.{key}"] = allowed[int(large * len(allowed))]
    return values


def own_key(strategy: Mapping[str, Any]) -> str | None:
    """Return the key that holds a strategy's size; None if it has none, or chooses it by itself."""
    size: str | None = chosen(Strategy, strategy).size
    return None if strategy.get("match_params") else size


def with_values(base: RunConfig, values: Mapping[str, float | int]) -> RunConfig:
    """Return a configuration with these values at their dotted keys."""
    config = base.plain()
    for path, value in values.items():
        group, key = path.split(".")
        config[group][key] = value
    return typed(config)


def choose(trials: Sequence[Trial], strategy: str) -> Trial:
    """Return the best trial of a strategy, the earliest of equals."""
    return max(
        (trial for trial in trials if trial.strategy == strategy), key=lambda trial: trial.score
    )


def write(folder: Path, trials: Sequence[Trial], n_trials: int, argv: Sequence[str]) -> None:
    """Write ``trials.csv``, and per strategy a file of the group ``tuned`` with the chosen values and
    the budget they were chosen with."""
    import polars as pl
    from omegaconf import OmegaConf

    rows = [
        {"strategy": t.strategy, "trial": t.number, "validation": t.score} | t.values
        for t in trials
    ]
    pl.DataFrame(rows, infer_schema_length=None).write_csv(folder / "trials.csv")
    (folder / GROUP).mkdir(exist_ok=True)
    for strategy in dict.fromkeys(trial.strategy for trial in trials):
        best = choose(trials, strategy)
        content: dict[str, Any] = {"tuning": {"trials": n_trials, "keys": list(best.values)}}
        for path, value in best.values.items():
            group, key = path.split(".")
            content.setdefault(group, {})[key] = value
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
