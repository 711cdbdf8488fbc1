"""What can be chosen: every option of every group, declared once with what others must know of it.
No torch in here.

A file in ``conf/GROUP/`` or a package of somebody else's (``plugins``) may name the targets
declared here and no others. The order is that of tables and figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from coldlm.config.kinds import (
    BackboneSource,
    Baseline,
    DataPolicy,
    Gate,
    Head,
    Launcher,
    Logger,
    Loss,
    Metric,
    Node,
    Optimiser,
    Option,
    Reader,
    Regulariser,
    Rival,
    Scope,
    SplitRule,
    Strategy,
    Trigger,
)

_LAST = "below all others, tied"

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
    Loss("alpha_entmax", "coldlm.models.losses.AlphaEntmax"),
    Loss("infonce", "coldlm.models.losses.InfoNCE"),
    Loss("bpr", "coldlm.models.losses.BPR"),
    Loss("binary_cross_entropy", "coldlm.models.losses.BinaryCrossEntropy", classifies=True),
    Loss("nll", "coldlm.models.losses.NegativeLogLikelihood", needs_log_probabilities=True),
    Reader("adressa", "coldlm.data.adressa.load"),
    Reader("amazon2018", "coldlm.data.amazon2018.load"),
    Reader("amazon2023", "coldlm.data.amazon2023.load"),
    Reader("atomic", "coldlm.data.atomic.load"),
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
    SplitRule("per_user", "coldlm.split.at_once.per_user", leaks=True, at_once=True),
    SplitRule("loo_at_once", "coldlm.split.at_once.loo_at_once", leaks=True, at_once=True),
    SplitRule("time_at_once", "coldlm.split.at_once.time_at_once", at_once=True),
    Optimiser("adamw", "coldlm.learn.optimisers.adamw"),
    Optimiser("sgd", "coldlm.learn.optimisers.sgd"),
    Logger("files", "coldlm.learn.loggers.files"),
    Logger("wandb", "coldlm.learn.loggers.wandb", package="wandb"),
    Logger("tensorboard", "coldlm.learn.loggers.tensorboard", package="tensorboard"),
    Launcher("basic", "coldlm.commands.launchers.basic"),
    Launcher("process", "coldlm.commands.launchers.process", loses_one=True),
    Launcher(
        "joblib",
        "coldlm.commands.launchers.joblib",
        package="hydra_plugins.hydra_joblib_launcher",
        extra="launchers",
    ),
    Launcher(
        "submitit_local",
        "coldlm.commands.launchers.submitit_local",
        package="hydra_plugins.hydra_submitit_launcher",
        extra="launchers",
        loses_one=True,
    ),
    Launcher(
        "submitit_slurm",
        "coldlm.commands.launchers.submitit_slurm",
        package="hydra_plugins.hydra_submitit_launcher",
        extra="launchers",
        loses_one=True,
    ),
    Launcher(
        "ray",
        "coldlm.commands.launchers.ray",
        package="hydra_plugins.hydra_ray_launcher",
        extra="ray",
        loses_one=True,
    ),
    Logger("mlflow", "coldlm.learn.loggers.mlflow", package="mlflow"),
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
    Scope("new_items", "coldlm.online.scopes.new_items", needs="head.deltas."),
    Scope("adapter", "coldlm.online.scopes.adapter", needs="encoder."),
    Scope("reset_to_trained", "coldlm.online.scopes.reset_to_trained", resets="trained"),
    Scope(
        "short_adapter",
        "coldlm.online.scopes.short_adapter",
        needs="encoder.",
        resets="trained",
        adapters=True,
    ),
    Scope(
        "next_adapter",
        "coldlm.online.scopes.next_adapter",
        needs="encoder.",
        adapters=True,
        anew=True,
    ),
    Scope("reset_to_base", "coldlm.online.scopes.reset_to_base", resets="base"),
    Gate("always", "coldlm.online.gates.Always"),
    Gate("finite", "coldlm.online.gates.Finite"),
    Gate("probe", "coldlm.online.gates.Probe", needs_probe=True),
    Metric("ndcg", "coldlm.evaluate.metrics.ndcg"),
    Metric("recall", "coldlm.evaluate.metrics.recall"),
    Metric("mrr", "coldlm.evaluate.metrics.mrr"),
    Rival(
        "popularity_days",
        "coldlm.rivals.popularity_days.popularity_days",
        setting="days",
        values=(1.0, 7.0, 30.0),
        unseen="its count in the stream",
    ),
    Rival(
        "bm25",
        "coldlm.rivals.bm25.bm25",
        setting="k1",
        values=(0.5, 1.2, 2.0),
        unseen="by its text",
    ),
    Rival(
        "item_knn",
        "coldlm.rivals.item_knn.item_knn",
        setting="neighbours",
        values=(20.0, 100.0, 400.0),
        unseen="0, tied",
    ),
    Rival(
        "ease",
        "coldlm.rivals.ease.ease",
        setting="strength",
        values=(100.0, 300.0, 1000.0, 3000.0),
        unseen="0, tied",
    ),
    Rival(
        "content_knn",
        "coldlm.rivals.content_knn.content_knn",
        setting="last items",
        values=(1.0, 5.0, 20.0),
        unseen="by its text",
    ),
    Rival(
        "late_fusion",
        "coldlm.rivals.late_fusion.late_fusion",
        setting="weight of words",
        values=(0.1, 0.3, 0.5, 0.7),
        unseen="by its text and its count in the stream",
    ),
    Rival(
        "mixture_by_n",
        "coldlm.rivals.mixture_by_n.mixture_by_n",
        setting="events",
        values=(1.0, 5.0, 20.0, 100.0),
        unseen="by its text alone at n = 0, then less and less",
    ),
    Rival(
        "dropoutnet",
        "coldlm.rivals.dropoutnet.dropoutnet",
        setting="dropout",
        values=(0.25, 0.5, 0.75),
        unseen="by its text",
    ),
    Rival(
        "clcrec",
        "coldlm.rivals.clcrec.clcrec",
        setting="weight of texts",
        values=(0.1, 0.5, 0.9),
        unseen="by its text",
    ),
    Rival(
        "heater",
        "coldlm.rivals.heater.heater",
        setting="likeness",
        values=(0.01, 0.1, 1.0),
        unseen="by its text",
    ),
    Rival(
        "aldi",
        "coldlm.rivals.aldi.aldi",
        setting="weight of the teacher",
        values=(0.1, 1.0, 10.0),
        unseen="by its text",
    ),
    Rival(
        "elsa_text",
        "coldlm.rivals.elsa_text.elsa_text",
        setting="rate",
        values=(0.0001, 0.0003, 0.001),
        unseen="by its text",
    ),
    Rival(
        "bpr",
        "coldlm.rivals.bpr.bpr",
        setting="strength",
        values=(0.0, 0.001, 0.01),
        unseen=_LAST,
    ),
    Rival(
        "lightgcn",
        "coldlm.rivals.lightgcn.lightgcn",
        setting="rate",
        values=(0.003, 0.01, 0.03),
        unseen=_LAST,
    ),
    Rival(
        "gru4rec",
        "coldlm.rivals.gru4rec.gru4rec",
        setting="rate",
        values=(0.0003, 0.001, 0.003),
        unseen=_LAST,
    ),
    Rival(
        "sasrec",
        "coldlm.rivals.sasrec.sasrec",
        setting="rate",
        values=(0.0003, 0.001, 0.003),
        unseen=_LAST,
    ),
)

KINDS = (*dict.fromkeys(option.group for option in _OWN), Baseline.group)
"""Kinds of options, as the command line has them where it does."""

FOLLOWS = "per_window"
"""What stands behind "@" in the name of a rival that follows the stream."""

FIRST_STAGES = ("mixed", "recent_popularity", "popularity", "tfidf", "zero_shot")
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


def rival_asked(text: str) -> Rival:
    """Return the rival that ``evaluate.rivals`` asks for, "NAME[:VALUE][@per_window]": with that value of
    its setting alone, and learned anew before each window of the stream; its name is all of that.

    Raises:
        LookupError: there is none of this name.
        ValueError: the value is no number, or something else stands behind "@".

    >>> rival_asked("ease:300").values, rival_asked("ease:300").name
    ((300.0,), 'ease:300')
    >>> rival_asked("ease@per_window").follows
    True
    """
    name, value, schedule = Rival.parts(text)
    rival: Rival = named(Rival, name)
    if "@" in text and schedule != FOLLOWS:
        raise ValueError(schedule)
    values = (float(value),) if ":" in text else rival.values
    return replace(rival, name=text, values=values, follows="@" in text)


def _first(found: Iterator[Any], asked: object) -> Any:
    for option in found:
        return option
    raise LookupError(asked)
