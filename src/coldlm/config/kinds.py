"""What can be chosen has kinds: what others must know of an option of each. No torch in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Option:
    """One option. ``name``: as in ``group=name``, and in tables. ``target``: the function or class
    that it stands for."""

    group: ClassVar[str]
    name: str
    target: str


@dataclass(frozen=True)
class BackboneSource(Option):
    """Where a backbone comes from. ``reads_text``: there are texts to learn from in it."""

    group: ClassVar[str] = "backbone"
    reads_text: bool = True


@dataclass(frozen=True)
class Strategy(Option):
    """A function Backbone -> Backbone. ``trains``: anything of the backbone. ``size``: the key that
    says how large it is, which ``match_params`` and ``coldlm tune`` choose. ``needs_layers``: made
    for backbones that are run layer by layer."""

    group: ClassVar[str] = "strategy"
    trains: bool = True
    size: str | None = None
    needs_layers: bool = False


@dataclass(frozen=True)
class Head(Option):
    """How a (user, item) pair becomes a score. ``trains``: it has something to learn. ``pools``: it
    reads pooled vectors.
    ``reads_pairs``: it reads user and item together, and so re-ranks a first stage.
    ``needs_decoder``: it asks a causal model what comes next. ``losses``: those that it learns by,
    all where there is none."""

    group: ClassVar[str] = "head"
    trains: bool = True
    pools: bool = True
    reads_pairs: bool = False
    needs_decoder: bool = False
    losses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loss(Option):
    """What training lowers. ``needs_log_probabilities``: of the scores. ``classifies``: each pair
    by itself, so that any score can be learned by it."""

    group: ClassVar[str] = "loss"
    needs_log_probabilities: bool = False
    classifies: bool = False


@dataclass(frozen=True)
class Reader(Option):
    """A data set's ``load``. ``has_lists``: its source holds candidate lists as they were shown."""

    group: ClassVar[str] = "dataset"
    has_lists: bool = False


@dataclass(frozen=True)
class SplitRule(Option):
    """Who learns from what. ``leaks``: the future reaches training, which every row says. ``at_once``:
    everybody is asked once, in one second, behind which there is no stream."""

    group: ClassVar[str] = "split"
    leaks: bool = False
    at_once: bool = False

    @property
    def has_stream(self) -> bool:
        """Whether the future comes event by event, so that there is something to learn from it."""
        return not (self.leaks or self.at_once)


@dataclass(frozen=True)
class Optimiser(Option):
    """Named parameters -> optimiser."""

    group: ClassVar[str] = "optim"


@dataclass(frozen=True)
class Logger(Option):
    """Where the curves of a run go. ``package``: that must be installed."""

    group: ClassVar[str] = "logger"
    package: str | None = None


@dataclass(frozen=True)
class Launcher(Option):
    """What carries out the cells of a sweep. ``package``: that must be installed. ``extra``: of
    coldlm, which installs it. ``loses_one``: a cell whose process dies takes no other with it."""

    group: ClassVar[str] = "launcher"
    package: str | None = None
    extra: str | None = None
    loses_one: bool = False


@dataclass(frozen=True)
class Trigger(Option):
    """When the weights are updated: a class of ``online.triggers`` or ``drift``. ``updates``: it
    ever does. ``is_off``: the stage is passed over. ``package``: that must be installed."""

    group: ClassVar[str] = "online/trigger"
    updates: bool = True
    is_off: bool = False
    package: str | None = None


@dataclass(frozen=True)
class DataPolicy(Option):
    """What an update learns from: a class of ``online.data`` or ``replay``. ``cheats``: it looks at
    what the updated weights will be asked for, which every row says."""

    group: ClassVar[str] = "online/data"
    cheats: bool = False


@dataclass(frozen=True)
class Regulariser(Option):
    """What holds an update back: a class of ``online.regularisers`` or ``der``. ``needs_adapter``: it
    looks at what the strategy trains of the language model. ``needs_replay``: and at old events."""

    group: ClassVar[str] = "online/regulariser"
    needs_adapter: bool = False
    needs_replay: bool = False


@dataclass(frozen=True)
class Scope(Option):
    """Which parameters an update may move: a function of ``online.scopes``. ``needs``: that one of
    them begins with it. ``resets``: each update starts from the weights before any training
    ("base"), or from those at T_test ("trained"); "": from those before it. ``adapters``: it moves
    adapters that the strategy keeps for the stream; ``anew``: others at each update."""

    group: ClassVar[str] = "online/scope"
    needs: str = ""
    resets: str = ""
    adapters: bool = False
    anew: bool = False


@dataclass(frozen=True)
class Gate(Option):
    """Whether an update goes live: a class of ``online.gates``. ``needs_probe``: it asks the
    probe."""

    group: ClassVar[str] = "online/gate"
    needs_probe: bool = False


PARTS: tuple[type[Option], ...] = (Trigger, DataPolicy, Regulariser, Scope, Gate)
"""What a schedule is made of."""


@dataclass(frozen=True)
class Metric(Option):
    """A formula (g, e, k) -> [P] values, of the place (g, e) of each positive, see
    ``evaluate.metrics``."""

    group: ClassVar[str] = "metric"


@dataclass(frozen=True)
class Baseline(Option):
    """A function (data, as_of, catalogue) -> scores, see ``evaluate.baselines``."""

    group: ClassVar[str] = "baseline"


@dataclass(frozen=True)
class Rival(Option):
    """A method of the field that is judged like a baseline where ``evaluate.rivals`` names it: a
    function (what is known, value) -> scores, see ``rivals.known``. ``setting``: what its
    value is; ``values``: those that are tried on validation. ``unseen``: what an item scores that
    nobody took in what the rival learned from, in words for the report. ``follows``: it is learned anew
    before each window of the stream."""

    group: ClassVar[str] = "rival"
    setting: str = ""
    values: tuple[float, ...] = (0.0,)
    unseen: str = ""
    follows: bool = False

    @staticmethod
    def parts(asked: str) -> tuple[str, str, str]:
        """Return name, value and schedule of what ``evaluate.rivals`` asks for, "" where one is not said.

        >>> Rival.parts("ease:300@per_window"), Rival.parts("ease")
        (('ease', '300', 'per_window'), ('ease', '', ''))
        """
        rival, _, schedule = asked.partition("@")
        name, _, value = rival.partition(":")
        return name, value, schedule
