"""The mandatory baselines over one world, ready to be judged."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor

from coldlm.config.build import resolve
from coldlm.config.kinds import Baseline
from coldlm.config.options import plugged
from coldlm.config.schema import RunConfig
from coldlm.core.columns import PERMUTED
from coldlm.evaluate import baselines
from coldlm.evaluate.judge import Judged, ScoreFunction
from coldlm.experiment.encoder import untrained
from coldlm.experiment.rivals import make_rivals
from coldlm.experiment.world import World
from coldlm.runs.record import Key, Summary
from coldlm.split.leaks import late_idf

log = logging.getLogger("coldlm")

READERS = ("tfidf", "zero_shot")
"""Baselines that read texts."""

DRAWN = "random"
"""The one baseline that depends on the seed."""


@dataclass
class JudgedBaselines:
    """The baselines of the last world that was judged, for all cells of a sweep that agree in what
    baselines see.

    ``key``: all that they depend on but the ``seed``, which only counts where there are rivals.
    ``rows``: name -> the stream as judged. ``half_life_days``: of recent popularity.
    ``late_words``: how many words of TF-IDF know the future (see ``split/leaks.py``). ``rivals``: name ->
    what was chosen for each, and of what.
    ``on_validation``: name -> nDCG, of rivals as learned from training alone.
    ``lists``, ``shown``: name -> its lists and what they hold, see ``experiment/lists.py``.
    ``summaries``: of ``rows``, as far as a run has told of them.
    """

    key: str = ""
    seed: int = 0
    rows: dict[str, Judged] = field(default_factory=dict)
    half_life_days: float = 0.0
    late_words: int = 0
    on_validation: dict[str, float] = field(default_factory=dict)
    lists: dict[str, pl.DataFrame] = field(default_factory=dict)
    shown: dict[str, dict[str, float]] = field(default_factory=dict)
    rivals: dict[str, dict[str, Any]] = field(default_factory=dict)
    summaries: dict[Key, Summary] = field(default_factory=dict)


def judge_baselines(
    kept: JudgedBaselines,
    config: RunConfig,
    world: World,
    history: int,
    measure: Callable[[ScoreFunction, str], float],
    judge: Callable[[ScoreFunction, str], Judged],
) -> None:
    """Judge the baselines into ``kept``, unless it holds those of this world already.

    Args:
        history: how many of a user's last items the text baselines look at.
        measure: (scorer, name) -> value on validation.
        judge: (scorer, name) -> its rows.
    """
    asked = (asdict(config.evaluate), config.plugins)
    parts = (
        config.dataset,
        config.release_slot,
        PERMUTED.index(config.control.name) if config.control.name in PERMUTED else None,
        config.split,
        config.backbone,
        world.delay,
    )
    key = json.dumps(
        [
            parts,
            asdict(config.trainer),
            config.seed if config.evaluate.rivals else None,
            history,
            asked,
            config.train.refit,
            world.digest,
        ],
        sort_keys=True,
    )
    if key == kept.key:
        if config.seed != kept.seed:
            kept.seed, drawn = config.seed, _random(config.seed, world)
            kept.rows[DRAWN] = judge(drawn, DRAWN)
            kept.summaries = {key: s for key, s in kept.summaries.items() if DRAWN not in key}
            kept.on_validation[DRAWN] = measure(drawn, DRAWN)
        return
    ready = prepare_baselines(config, world, history, measure)
    scorers = make_baselines(ready, world, history)
    on_validation = {name: measure(scorer, name) for name, scorer in scorers.items()}
    names, refit = config.evaluate.rivals, config.train.refit
    rivals, chosen = make_rivals(names, ready, world, history, measure, refit=refit)
    scorers |= rivals
    # of nothing, should one of them fail
    kept.key, kept.lists, kept.shown, kept.summaries = "", {}, {}, {}
    kept.rows = {name: judge(scorer, name) for name, scorer in scorers.items()}
    idf = cast(baselines.TfIdf, scorers["tfidf"]).idf
    kept.late_words = late_idf(
        world.data, world.split, world.catalogue, idf, baselines.WORD.findall
    )
    kept.rivals = chosen
    kept.on_validation = on_validation | {
        name: max(found["tried"].values()) for name, found in chosen.items()
    }
    kept.half_life_days = world.data.half_lives_days[ready.half_life]
    kept.key, kept.seed = key, config.seed


class Way(NamedTuple):
    """How a baseline reads users: a profile that says nothing of taste is noise, and so may be a history
    beside what was typed (``query_alone``: whoever typed is answered by that alone)."""

    profile: bool = True
    query_alone: bool = False


@dataclass(frozen=True)
class Ready:
    """What baselines need whatever is known of the stream. ``seed``: of the random one.
    ``half_life``: 0, 1 or 2, of recent popularity, chosen on validation. ``items``: [N, D] and
    ``texts``: [U + T, D], vectors of the untouched backbone (the run's own has been trained) of items
    and of ``Users.read``, all 0 where there is no text. ``ways``: how each of ``READERS`` does best
    on validation."""

    seed: int
    half_life: int
    items: Tensor
    texts: Tensor
    ways: dict[str, Way]


def prepare_baselines(
    config: RunConfig,
    world: World,
    history: int,
    measure: Callable[[ScoreFunction, str], float],
) -> Ready:
    """Return what all of a run's baselines share.

    Args:
        history: how many of a user's last items the text baselines look at.
        measure: (scorer, name) -> value on validation.
    """
    recent = [baselines.recent_popularity(world.as_of, h) for h in range(3)]
    best = int(
        np.argmax([measure(scorer, f"recent_popularity {h}") for h, scorer in enumerate(recent)])
    )
    encoder, users = untrained(config, world), world.data.users
    texts = torch.zeros(len(users.read), encoder.width)
    with_text = [place for place, text in enumerate(users.read) if text]
    if with_text:
        with torch.no_grad():
            texts[with_text] = encoder.texts([users.read[place] for place in with_text])
    ready = Ready(config.seed, best, encoder.all_items(), texts, dict.fromkeys(READERS, Way()))
    profile = {True: "with profiles", False: "without profiles"} if any(users.texts) else {True: ""}
    alone = {False: "with history", True: "queries alone"} if users.queries else {False: ""}
    ways = {
        Way(*way): " ".join(filter(None, words))
        for way, words in zip(
            product(profile, alone), product(profile.values(), alone.values()), strict=True
        )
    }
    if len(ways) == 1:
        return ready
    chosen = dict[str, Way]()
    for name in READERS:
        tried = {
            way: measure(_reader(name, replace(ready, ways={name: way}), world, history), name)
            for way in ways
        }
        said = ", ".join(f"{value:.4f} {ways[way]}" for way, value in tried.items())
        log.info("%s on validation: %s", name, said)
        chosen[name] = max(tried, key=lambda way, tried=tried: tried[way])  # type: ignore[misc]
    return replace(ready, ways=chosen)


def _reader(name: str, ready: Ready, world: World, history: int) -> ScoreFunction:
    """A baseline that reads texts, one of ``READERS``."""
    data, t_test, way = world.data, world.split.t_test, ready.ways[name]
    users, alone = data.users, way.query_alone
    if name == "zero_shot":
        texts, known = ready.texts, world.entered_by(t_test)
        if not way.profile:
            texts = torch.cat([torch.zeros_like(texts[: len(users)]), texts[len(users) :]])
        return baselines.zero_shot(
            ready.items, texts, users, known, world.as_of, history, query_alone=alone
        )
    if not way.profile:
        data = replace(data, users=replace(users, texts=("",) * len(users)))
    return baselines.TfIdf(data, world.catalogue, world.as_of, history, t_test, query_alone=alone)


def make_baselines(ready: Ready, world: World, history: int) -> dict[str, ScoreFunction]:
    """Name -> scorer, which remembers what ``world`` knows.

    Args:
        history: how many of a user's last items the text baselines look at.
    """
    data, as_of, catalogue = world.data, world.as_of, world.catalogue
    scorers: dict[str, ScoreFunction] = {
        DRAWN: _random(ready.seed, world),
        "constant": baselines.constant(len(data.items)),
        "popularity": baselines.popularity(as_of),
        "recent_popularity": baselines.recent_popularity(as_of, ready.half_life),
        "newest": baselines.newest(catalogue),
        "fewest_events": baselines.fewest_events(data, catalogue),
        **{name: _reader(name, ready, world, history) for name in READERS},
    }
    if data.repeats:
        scorers["own_repeats"] = baselines.own_repeats(as_of, data)
    for option in plugged(Baseline):
        scorers[option.name] = resolve(option.target)(data, as_of, catalogue)
    return scorers


def _random(seed: int, world: World) -> ScoreFunction:
    return baselines.random(seed, len(world.data.items), world.data.users.ids)
