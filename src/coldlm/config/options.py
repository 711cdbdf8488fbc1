"""What can be chosen: every option of every group, declared once with what others must know of it.
No torch in here.

A file in ``conf/GROUP/`` or a package of somebody else's (``plugins``) may name the targets
declared here and no others. The order is that of tables and figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
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
    """Who learns from what. ``leaks``: the future reaches training, which every row says."""

    group: ClassVar[str] = "split"
    leaks: bool = False


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
    ("base"), or from those at T_test ("trained"); "": from those before it."""

    group: ClassVar[str] = "online/scope"
    needs: str = ""
    resets: str = ""


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


_OWN: tuple[Option, ...] = (
    BackboneSource("load", "coldlm.models.backbone.load"),
    BackboneSource("scratch", "coldlm.models.backbone.scratch"),
    BackboneSource("tiny", "coldlm.models.backbone.tiny"),
    BackboneSource("random_vectors", "coldlm.models.backbone.random_vectors", reads_text=False),
    # what trains of the backbone itself, then what is added: bottlenecks, prompts and factors,
    # low-rank updates
    Strategy("frozen", "coldlm.models.strategy.frozen", trains=False),
    Strategy("top", "coldlm.models.strategy.top", size="layers"),
    Strategy("full", "coldlm.models.strategy.full"),
    Strategy("bitfit", "coldlm.models.strategy.bitfit"),
    Strategy("adapter", "coldlm.models.strategy.adapter", size="bottleneck", needs_layers=True),
    Strategy("prefix", "coldlm.models.strategy.prefix", size="length", needs_layers=True),
    Strategy("prompt", "coldlm.models.strategy.prompt", size="length", needs_layers=True),
    Strategy("ia3", "coldlm.models.strategy.ia3", needs_layers=True),
    Strategy("lora", "coldlm.models.strategy.lora", size="rank"),
    Strategy("adalora", "coldlm.models.strategy.adalora", size="rank"),
    Head("towers", "coldlm.models.towers.Towers"),
    Head("pair", "coldlm.models.pair.Pair", reads_pairs=True, losses=("binary_cross_entropy",)),
    Head(
        "causal_lm",
        "coldlm.models.causal_lm.CausalLM",
        pools=False,
        reads_pairs=True,
        needs_decoder=True,
        losses=("nll", "binary_cross_entropy"),
    ),
    Head("zero_shot", "coldlm.models.zero_shot.ZeroShot", trains=False, pools=False),
    Loss("sampled_softmax", "coldlm.models.losses.SampledSoftmax"),
    Loss("full_softmax", "coldlm.models.losses.FullSoftmax"),
    Loss("infonce", "coldlm.models.losses.InfoNCE"),
    Loss("bpr", "coldlm.models.losses.BPR"),
    Loss("binary_cross_entropy", "coldlm.models.losses.BinaryCrossEntropy", classifies=True),
    Loss("nll", "coldlm.models.losses.NegativeLogLikelihood", needs_log_probabilities=True),
    Reader("adressa", "coldlm.data.adressa.load"),
    Reader("amazon2018", "coldlm.data.amazon2018.load"),
    Reader("amazon2023", "coldlm.data.amazon2023.load"),
    Reader("caixin", "coldlm.data.caixin.load"),
    Reader("ebnerd", "coldlm.data.ebnerd.load", has_lists=True),
    Reader("hm", "coldlm.data.hm.load"),
    Reader("kuairec", "coldlm.data.kuairec.load"),
    Reader("lastfm_1k", "coldlm.data.lastfm_1k.load"),
    Reader("lastfm_2k", "coldlm.data.lastfm_2k.load"),
    Reader("microlens", "coldlm.data.microlens.load"),
    Reader("mind", "coldlm.data.mind.load", has_lists=True),
    Reader("movielens", "coldlm.data.movielens.load"),
    Reader("movielens_editions", "coldlm.data.movielens_editions.load"),
    Reader("online_retail", "coldlm.data.online_retail.load"),
    Reader("own", "coldlm.data.own.load"),
    Reader("simulated", "coldlm.data.simulated.load"),
    SplitRule("time", "coldlm.split.cuts.time"),
    SplitRule("random", "coldlm.split.cuts.random", leaks=True),
    SplitRule("loo", "coldlm.split.cuts.loo", leaks=True),
    Optimiser("adamw", "coldlm.learn.optimisers.adamw"),
    Optimiser("sgd", "coldlm.learn.optimisers.sgd"),
    Logger("files", "coldlm.learn.loggers.files"),
    Logger("wandb", "coldlm.learn.loggers.wandb", package="wandb"),
    Logger("tensorboard", "coldlm.learn.loggers.tensorboard", package="tensorboard"),
    Trigger("off", "coldlm.online.triggers.Off", updates=False, is_off=True),
    Trigger("never", "coldlm.online.triggers.Never", updates=False),
    Trigger("every_window", "coldlm.online.triggers.EveryWindow"),
    Trigger("every_n", "coldlm.online.triggers.EveryN"),
    Trigger("every", "coldlm.online.triggers.Every"),
    Trigger("on_new_items", "coldlm.online.triggers.OnNewItems"),
    Trigger("on_drift", "coldlm.online.drift.OnDrift", package="river"),
    Trigger("budget", "coldlm.online.triggers.Budget"),
    Trigger("any_of", "coldlm.online.triggers.AnyOf"),
    DataPolicy("new_only", "coldlm.online.data.NewOnly"),
    DataPolicy("window", "coldlm.online.data.Window"),
    DataPolicy("cumulative", "coldlm.online.data.Cumulative"),
    DataPolicy("replay", "coldlm.online.replay.Replay"),
    DataPolicy("shuffled", "coldlm.online.data.Shuffled"),
    DataPolicy("oracle", "coldlm.online.data.Oracle", cheats=True),
    Regulariser("none", "coldlm.online.regularisers.Regulariser"),
    Regulariser("l2_to_previous", "coldlm.online.regularisers.L2ToPrevious"),
    Regulariser("ewc", "coldlm.online.regularisers.EWC"),
    Regulariser("distill", "coldlm.online.regularisers.Distill"),
    Regulariser("peso", "coldlm.online.regularisers.Peso", needs_adapter=True),
    Regulariser("der", "coldlm.online.der.DER", needs_replay=True),
    Regulariser("ema", "coldlm.online.regularisers.EMA"),
    Scope("everything", "coldlm.online.scopes.everything"),
    Scope("head", "coldlm.online.scopes.head", needs="head."),
    Scope("context", "coldlm.online.scopes.context", needs="head.fusion."),
    Scope("adapter", "coldlm.online.scopes.adapter", needs="encoder."),
    Scope("reset_to_trained", "coldlm.online.scopes.reset_to_trained", resets="trained"),
    Scope("reset_to_base", "coldlm.online.scopes.reset_to_base", resets="base"),
    Gate("always", "coldlm.online.gates.Always"),
    Gate("finite", "coldlm.online.gates.Finite"),
    Gate("probe", "coldlm.online.gates.Probe", needs_probe=True),
    Metric("ndcg", "coldlm.evaluate.metrics.ndcg"),
    Metric("recall", "coldlm.evaluate.metrics.recall"),
    Metric("mrr", "coldlm.evaluate.metrics.mrr"),
)

KINDS = (*dict.fromkeys(option.group for option in _OWN), Baseline.group)
"""Kinds of options, as the command line has them where it does."""

FIRST_STAGES = ("recent_popularity", "popularity", "tfidf", "zero_shot")
"""Names of ``head.first_stage``; anything else is the folder of a run."""

_plugged: tuple[Option, ...] = ()
"""The options of the packages that the configuration at hand names, see ``plugins``."""


def plug(options: Sequence[Option]) -> None:
    """Let ``options`` be chosen besides coldlm's own, and no others of other packages from here
    on."""
    global _plugged
    _plugged = tuple(options)


def every(group: type[Any] | str) -> Iterator[Any]:
    """Yield the options of a group, or of a type of options, in the order of tables."""
    for option in chain(_OWN, _plugged):
        if option.group == group if isinstance(group, str) else isinstance(option, group):
            yield option


def plugged(kind: type[Any]) -> Iterator[Any]:
    """Return the options of a type that are not coldlm's own."""
    return (option for option in _plugged if isinstance(option, kind))


def names(kind: type[Any]) -> tuple[str, ...]:
    """Return the names of a type of options, in the order of tables."""
    return tuple(option.name for option in every(kind))


def targets(group: str) -> tuple[str, ...]:
    """Return what a node of this group may name."""
    return tuple(option.target for option in every(group))


def chosen(kind: type[Any], node: Node) -> Any:
    """Return the option that a node's target is.

    Raises:
        LookupError: it is none.
    """
    return _first(
        (o for o in every(kind) if o.target == node.get("_target_")), node.get("_target_")
    )


def named(kind: type[Any], name: str) -> Any:
    """Return the option of this name.

    Raises:
        LookupError: there is none.
    """
    return _first((option for option in every(kind) if option.name == name), name)


def _first(found: Iterator[Any], asked: object) -> Any:
    for option in found:
        return option
    raise LookupError(asked)
