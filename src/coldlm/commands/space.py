"""What ``coldlm tune`` draws trials from: how, who ends them early, and which values of which keys, as a YAML
file says. All of it is checked before anything runs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldlm.config.build import refuse
from coldlm.config.check import known_paths, problems
from coldlm.config.kinds import Strategy
from coldlm.config.options import chosen
from coldlm.config.signatures import show
from coldlm.core.errors import ConfigError
from coldlm.core.spelling import did_you_mean

SAMPLERS, PRUNERS = ("random", "tpe"), ("none", "median")

AROUND = "around"
"""The label of a space that no file says: around the configuration as it stands."""

GROUPS = ("train", "backbone", "strategy", "head", "loss", "optim")
"""Whose keys a space may have: what a training depends on. All others say what is measured, or by whom."""

SET = ("train.validate", "train.refit")
"""Keys that a trial sets itself."""

RANGE, CHOICES = ("low", "high", "log", "step", "int"), ("choices",)
"""What may be said of a key: either."""


@dataclass(frozen=True)
class Between:
    """Numbers from ``low`` to ``high``: as likely by their logarithm if ``log``, so many apart if ``step``,
    whole ones if ``whole``."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def ends(self) -> tuple[float | int, ...]:
        """Return the values between which all others lie."""
        return self.low, self.high

    def has(self, value: object) -> bool:
        """Return whether a value lies in the range, and on one of its steps."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-9

    def __str__(self) -> str:
        """Return the range in words."""
        words = [f"{self.low:g}..{self.high:g}", "log" * self.log, "int" * self.whole]
        return " ".join(filter(None, [*words, f"step {self.step:g}" if self.step else ""]))


@dataclass(frozen=True)
class OneOf:
    """These values, all as likely."""

    ends: tuple[Any, ...]

    def has(self, value: object) -> bool:
        """Return whether a value is one of these."""
        return any(type(each) is type(value) and each == value for each in self.ends)

    def __str__(self) -> str:
        """Return the values in words."""
        return "|".join(map(str, self.ends))


Space = Mapping[str, Between | OneOf]
"""Dotted key -> the values that trials may give it."""


@dataclass(frozen=True)
class Asked:
    """How a command line wants trials drawn. ``space``: None for that around the configuration."""

    sampler: str = "random"
    pruner: str = "none"
    space: Space | None = None

    @property
    def label(self) -> dict[str, str]:
        """Return what the group ``tuning`` of a configuration says of it."""
        words = (f"{key} {values}" for key, values in (self.space or {}).items())
        return {
            "sampler": self.sampler,
            "space": "; ".join(words) or AROUND,
            "pruner": self.pruner,
        }


def asked(argv: Sequence[str]) -> tuple[Asked, list[str]]:
    """Return what a command line says of ``sampler``, ``pruner`` and ``space``, and the rest of it.

    Raises:
        ConfigError: an unknown sampler or pruner, a file that cannot be read, or a space or pruner
            that the sampler does not know.
    """
    given = {"sampler": "random", "pruner": "none", "space": ""}
    rest = []
    for argument in argv:
        key, _, value = argument.partition("=")
        if key in given:
            given[key] = value
        else:
            rest.append(argument)
    for key, allowed in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        if given[key] not in allowed:
            hint = did_you_mean(given[key], allowed, begin="; ")
            raise ConfigError(
                f"coldlm tune: got {key}={given[key]}, allowed: {' or '.join(allowed)}{hint}"
            )
    if given["sampler"] == "random" and (given["space"] or given["pruner"] != "none"):
        raise ConfigError(
            "coldlm tune: sampler=random draws around the configuration and ends no trial early; "
            "with space=... or pruner=... say sampler=tpe"
        )
    space = read(Path(given["space"])) if given["space"] else None
    return Asked(given["sampler"], given["pruner"], space), rest


def read(file: Path) -> Space:
    """Return the space that a file holds.

    Raises:
        ConfigError: no such file, no YAML, or an entry that is no range and no choices; all of them.
    """
    from omegaconf import OmegaConf

    from coldlm.config.guard import UNREADABLE

    try:  # OmegaConf reads 1e-5 as a number, which plain YAML does not
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    except (OSError, UnicodeDecodeError, *UNREADABLE) as error:
        raise ConfigError(f"space={file}: cannot be read ({error})") from error
    if not isinstance(content, dict) or not content:
        raise ConfigError(
            f"space={file}: got {type(content).__name__ if content else 'nothing'}, allowed: keys, "
            "such as optim.lr: {low: 1e-4, high: 1e-2, log: true}"
        )
    found = {str(key): list(_entry_problems(entry)) for key, entry in content.items()}
    refuse([f"space={file}: {key}: {said}" for key, each in found.items() for said in each])
    return {str(key): _values(entry) for key, entry in content.items()}


def _entry_problems(entry: object) -> Iterator[str]:
    """What is wrong with what a file says of a key."""
    allowed = "allowed: {low, high}, with log, step or int, or {choices: [...]}"
    if not isinstance(entry, dict) or not ({"low", "high"} <= entry.keys() or "choices" in entry):
        yield f"got {entry!r}, {allowed}"
        return
    words = CHOICES if "choices" in entry else RANGE
    if unknown := [str(word) for word in entry if word not in words]:
        yield f"got {unknown[0]}, {allowed}{did_you_mean(unknown[0], words, begin='; ')}"
    elif "choices" in entry:
        choices = entry["choices"]
        plain = isinstance(choices, list) and all(
            each is None or isinstance(each, bool | int | float | str) for each in choices
        )
        if not plain or len({(type(each), each) for each in choices}) < max(2, len(choices)):
            yield f"got choices: {choices!r}, allowed: two or more values, each once"
    else:
        yield from _range_problems(**entry)


def _range_problems(
    low: Any, high: Any, log: Any = False, step: Any = None, int: Any = False
) -> Iterator[str]:
    """What is wrong with a range, whose words are those of the file."""
    numbers = [low, high, *([] if step is None else [step])]
    if any(isinstance(n, bool | str) or n is None or not math.isfinite(n) for n in numbers):
        yield f"got {low!r} to {high!r} in steps of {step!r}, allowed: finite numbers"
    elif not (isinstance(log, bool) and isinstance(int, bool)):
        yield f"got log: {log!r}, int: {int!r}, allowed: true or false"
    elif not low < high:
        yield f"got low {low:g} and high {high:g}, allowed: a low below the high"
    elif log and (low <= 0 or step is not None):
        yield "log: true needs a low above 0 and goes without step"
    elif step is not None and not 0 < step <= high - low:
        yield f"got step {step:g}, allowed: above 0, up to {high - low:g}"
    elif int and any(n != round(n) for n in numbers):
        yield "int: true needs whole numbers"


def _values(entry: Mapping[str, Any]) -> Between | OneOf:
    """What a sound entry says."""
    if "choices" in entry:
        return OneOf(tuple(entry["choices"]))
    whole = entry.get("int", False)
    kind = int if whole else float
    step = entry.get("step")
    return Between(
        kind(entry["low"]),
        kind(entry["high"]),
        entry.get("log", False),
        None if step is None else kind(step),
        whole,
    )


def of_each(
    space: Space, configs: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Between | OneOf]]:
    """Return strategy -> the part of a space that it has keys for: ``strategy.rank`` is no key of top, and
    frozen has no use for ``optim.body_lr``.

    Args:
        configs: strategy -> its plain configuration.

    Raises:
        ConfigError: every key that no strategy has, that is none of a training, or whose values do not
            fit.
    """
    known = {name: set(known_paths(config)) for name, config in configs.items()}
    everywhere = sorted(set().union(*known.values()))
    keys = [key for key in everywhere if key.split(".")[0] in GROUPS and "." in key]
    found, parts = list[str](), {name: dict[str, Between | OneOf]() for name in configs}
    for key, values in space.items():
        if key not in everywhere:
            hint = did_you_mean(key, keys, begin="; ")
            found.append(f"space: {key}: unknown key of strategy={','.join(configs)}{hint}")
        elif key not in keys or key in SET:
            found.append(
                f"space: {key}: is none of a training's own; allowed: keys of {', '.join(GROUPS)}, but "
                f"not {' or '.join(SET)}"
            )
        else:
            for name in (name for name in configs if key in known[name]):
                found += _misfits(key, values, configs[name])
                if key != "optim.body_lr" or chosen(Strategy, configs[name]["strategy"]).trains:
                    parts[name][key] = values
    refuse(list(dict.fromkeys(found)))
    if idle := [name for name, part in parts.items() if not part]:
        raise ConfigError(
            f"space: holds no key of strategy={idle[0]}, all of whose trials would be the same; add "
            "one, such as optim.lr, or leave the strategy out"
        )
    return parts


def _misfits(key: str, values: Between | OneOf, config: Mapping[str, Any]) -> Iterator[str]:
    """What a configuration says against the ends of a range, or against choices."""
    for value in values.ends:
        tried = copy.deepcopy(dict(config))
        put(tried, key, value)
        for said in problems(tried):
            needs_int = isinstance(values, Between) and not values.whole and "integer" in said
            yield f"space: {key}={show(value)}: {said}{'; add int: true' * needs_int}"


def put(config: dict[str, Any], path: str, value: object) -> None:
    """Set the value at a dotted key, in place, with the mappings above it."""
    *groups, key = path.split(".")
    for group in groups:
        config = config.setdefault(group, {})
    config[key] = value
