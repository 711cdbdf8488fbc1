"""Trials that learn from one another: Optuna's TPE (Bergstra et al. 2011, section 4) over a study of each
strategy in one SQLite file, which processes share and the same command goes on with.

The budget is trials started. One that fails, is pruned, or whose process dies has had its turn. Trial 0 is the
configuration as it stands; the next ``STARTUP`` draw at random. What a trial draws depends on the seed, its
number and the trials that have ended before it: one process draws the same again, several at once do not, as
who ends first is the machine's business.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from coldlm.commands import tune
from coldlm.commands.around import around, with_values
from coldlm.commands.space import Asked, OneOf, Space, of_each
from coldlm.commands.tune import Trial
from coldlm.config.check import problems
from coldlm.config.schema import RunConfig
from coldlm.core.errors import ColdlmError, ConfigError, Pruned, first_line
from coldlm.core.seeding import derive
from coldlm.runs.claim import claimed, is_claimed
from coldlm.runs.identity import config_hash, flatten

STARTUP = 4
"""Trials that are drawn at random before any is learned from, and that end before any is pruned: with Optuna's
own 10, eight trials would be a random search."""

FOLDER, FILE = "study", "trials.db"
"""In the output folder: the studies, and who works on them."""

WAIT = 0.5
"""Seconds between two looks at trials of other processes."""

Train = Callable[[dict[str, Any], int, Callable[[float], None] | None], float]
"""Values, number of the trial, and who judges each epoch -> validation nDCG."""


def search(
    bases: Mapping[str, RunConfig], n_trials: int, seeds: Sequence[int], how: Asked
) -> list[Trial]:
    """Return the trials of every strategy, by number, once as many as ``n_trials`` of each have been
    started and have ended; those that are missing are carried out here, or by other processes.

    Args:
        bases: strategy -> its configuration.
        seeds: of every trial; none or one for the configuration's own.

    Raises:
        ConfigError: a space that does not fit, another study in the same folder, several seeds that a
            pruner cannot judge by epochs, or more than one device.
        ColdlmError: a trial could not train, for a reason that the next would have too.
    """
    if how.pruner != "none" and len(seeds) > 1:
        raise ConfigError(
            f"coldlm tune: pruner={how.pruner} compares epochs of one training; with seed="
            f"{','.join(map(str, seeds))} say pruner=none"
        )
    spaces: dict[str, Space] = {name: around(base) for name, base in bases.items()}
    if how.space is not None:
        spaces |= of_each(how.space, {name: base.plain() for name, base in bases.items()})
    studies = {}
    for name, base in bases.items():
        tune.refuse_devices(base)
        about = {
            **how.label,
            "seed": ",".join(map(str, seeds or [base.seed])),
            "configuration": config_hash(base),
        }
        studies[name] = Study(base, name, spaces[name], about, (seeds or [base.seed])[0])
    for name, study in studies.items():
        study.work(n_trials, _trainer(bases[name], name, seeds))
    return [
        trial_of(name, spaces[name], trial) for name, s in studies.items() for trial in s.settled()
    ]


def _trainer(base: RunConfig, strategy: str, seeds: Sequence[int]) -> Train:
    """What trains a trial of a strategy."""

    def train(values: dict[str, Any], number: int, judge: Callable[[float], None] | None) -> float:
        config = with_values(base, values)
        if found := problems(config.plain()):  # values that fit each alone, and not together
            raise ValueError(found[0])
        return tune.train(config, f"{strategy},trial={number}", seeds, judge)

    return train


class Study:
    """The trials of one strategy.

    Args:
        folder: the output of the command.
        base: the configuration, which is trial 0; where it lies in the space, TPE learns from it too.
        about: what must be equal for the trials to be of one study, in words.

    Raises:
        ConfigError: the folder holds a study of the strategy about something else.
    """

    def __init__(
        self,
        base: RunConfig,
        strategy: str,
        space: Space,
        about: Mapping[str, str],
        seed: int,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._folder, self._strategy, self._space = Path(base.output) / FOLDER, strategy, space
        self._seed, self.prunes = seed, about["pruner"] == "median"
        values = flatten(base.plain())
        self._configured = {k: values[k] for k in space if space[k].has(values.get(k))}
        with self._alone():
            # other processes may write just then
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{(self._folder / FILE).resolve()}",
                engine_kwargs={"connect_args": {"timeout": 120}},
            )
            self._study = optuna.create_study(
                storage=storage,
                study_name=strategy,
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
                if self.prunes
                else optuna.pruners.NopPruner(),
            )
            for key, value in about.items():
                before = self._study.user_attrs.get(key, value)
                if before != value:
                    raise ConfigError(
                        f"{self._folder / FILE}: holds trials of strategy={strategy} with another {key}: "
                        f"was {before}, is {value}. Choose another output=..., or remove the folder"
                    )
                self._study.set_user_attr(key, value)
            if not self._study.get_trials(deepcopy=False):
                self._study.enqueue_trial(self._configured)

    def work(self, n_trials: int, train: Train) -> None:
        """Start trials, one after another, until ``n_trials`` have been started by anybody.

        Raises:
            ColdlmError: a trial could not train, for a reason that the next would have too.
        """
        while True:
            with self._started(n_trials) as trial:
                if trial is None:
                    return
                self._carry_out(trial, train)

    def settled(self) -> list[FrozenTrial]:
        """Return all trials, once no process works on one any more."""
        while True:
            with self._alone():
                self._fail_dead()
                trials = self._begun()
            if not any(trial.state == TrialState.RUNNING for trial in trials):
                return trials
            time.sleep(WAIT)

    @contextmanager
    def _started(self, n_trials: int) -> Iterator[optuna.Trial | None]:
        """A trial that nobody else has, None where all have been started. Whose process lives, its lock
        says."""
        with ExitStack() as held:
            with self._alone():
                self._fail_dead()
                if len(self._begun()) >= n_trials:
                    trial = None
                else:
                    trial = self._study.ask()
                    held.enter_context(claimed(self._lock(trial.number)))
            yield trial

    def _begun(self) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state != TrialState.WAITING]

    def _alone(self) -> Any:
        """Hold the study: what is asked of it meanwhile is nobody else's."""
        return claimed(self._folder, waits=True)

    def _lock(self, number: int) -> Path:
        return self._folder / f"{self._strategy},trial={number}"

    def _fail_dead(self) -> None:
        """Count trials whose process has died as failed."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not is_claimed(self._lock(trial.number)):
                self._study.tell(trial.number, state=TrialState.FAIL)
                self._tell(trial.number, "its process died")

    def _tell(self, number: int, reason: str) -> None:
        print(f"{self._strategy}, trial {number} failed, and counts: {reason}", file=sys.stderr)

    def _carry_out(self, trial: optuna.Trial, train: Train) -> None:
        """Draw, train, and say how it ended, whatever happens."""
        begin, state, score = time.perf_counter(), TrialState.FAIL, None

        epochs = count(1)

        def judge(value: float) -> None:
            epoch = next(epochs)
            trial.report(value, epoch)
            if trial.should_prune():
                raise Pruned(f"after epoch {epoch} below the median of trials before it")

        try:
            score = train(self._draw(trial), trial.number, judge if self.prunes else None)
            state = TrialState.COMPLETE
        except Pruned:
            state = TrialState.PRUNED
        except ColdlmError:
            raise
        except Exception as error:  # out of memory, say, under these values
            self._tell(trial.number, f"{type(error).__name__}: {first_line(error)}")
        finally:
            trial.set_user_attr("seconds", time.perf_counter() - begin)
            self._study.tell(trial, score, state=state)

    def _draw(self, trial: optuna.Trial) -> dict[str, Any]:
        """The values of a trial; none for the first, which is told of those that it has."""
        # of its own number: a process that goes on would draw again what the one before it has drawn
        self._study.sampler = optuna.samplers.TPESampler(
            seed=derive(self._seed, "trial", trial.number) % 2**32,
            n_startup_trials=STARTUP,
            multivariate=False,
            constant_liar=True,
        )
        drawn = {}
        for key, values in self._space.items():
            if not trial.number and key not in self._configured:
                continue
            if isinstance(values, OneOf):
                drawn[key] = trial.suggest_categorical(key, values.ends)
            elif values.whole:
                low, high, step = int(values.low), int(values.high), int(values.step or 1)
                drawn[key] = trial.suggest_int(key, low, high, step=step, log=values.log)
            else:
                drawn[key] = trial.suggest_float(
                    key, values.low, values.high, step=values.step, log=values.log
                )
        return drawn if trial.number else {}


def trial_of(strategy: str, space: Space, trial: FrozenTrial) -> Trial:
    """Return what a study knows of a trial."""
    drawn = {key: trial.params[key] for key in space if key in trial.params}
    values = drawn if trial.number else {}
    score = -math.inf
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        score = float(trial.value)
    state = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}.get(
        trial.state, "failed"
    )
    if state == "complete" and score == -math.inf:
        state = "diverged"
    return Trial(strategy, trial.number, values, score, state, trial.user_attrs.get("seconds"))
