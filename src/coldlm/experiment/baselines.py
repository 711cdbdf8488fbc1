"""The mandatory baselines over one world, ready to be judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coldlm.evaluate import baselines
from coldlm.evaluate.judge import Judged, ScoreFunction
from coldlm.experiment.world import World, untrained
from coldlm.split.leaks import late_idf

_judged: dict[str, tuple[dict[str, Judged], float, int]] = {}
"""The last baselines judged in this process, by all that they depend on."""


def judge_baselines(
    config: Mapping[str, Any],
    world: World,
    history: int,
    measure: Callable[[ScoreFunction, str], float],
    judge: Callable[[ScoreFunction, str], Judged],
) -> tuple[dict[str, Judged], float, int]:
    """Name -> the stream as judged, the half-life, and how many words of TF-IDF know the future (see ``leaks``); once
    for all cells of a sweep that agree in what baselines see.

    Args:
        history: how many of a user's last items the text baselines look at.
        measure: (scorer, name) -> value on validation.
        judge: (scorer, name) -> its rows.
    """
    parts = {part: config[part] for part in ("dataset", "split", "backbone", "trainer", "seed")}
    asked = {part: config["evaluate"][part] for part in ("k", "candidates", "queries")}
    key = json.dumps([parts, history, asked, _digest(world)], sort_keys=True)
    if key not in _judged:
        ready = prepare(config, world, measure)
        _judged.clear()
        scorers = make_baselines(ready, world, history)
        judged = {name: judge(scorer, name) for name, scorer in scorers.items()}
        tfidf = scorers["tfidf"]
        assert isinstance(tfidf, baselines.TfIdf)
        late = late_idf(world.data, world.split, world.catalogue, tfidf.idf, baselines.WORD.findall)
        _judged[key] = judged, world.data.half_lives_days[ready.half_life], late
    return _judged[key]


@dataclass(frozen=True)
class Ready:
    """What baselines need whatever is known of the stream. ``seed``: of the random one. ``half_life``: 0, 1 or 2, of
    recent popularity, chosen on validation. ``items``: [N, D] and ``profiles``: [U, D], vectors of the untouched
    backbone (the run's own has been trained), all 0 for users without a profile text."""

    seed: int
    half_life: int
    items: Tensor
    profiles: Tensor


def prepare(config: Mapping[str, Any], world: World, measure: Callable[[ScoreFunction, str], float]) -> Ready:
    """What all of a run's baselines share.

    Args:
        measure: (scorer, name) -> value on validation.
    """
    recent = [baselines.recent_popularity(world.as_of, h) for h in range(3)]
    best = int(np.argmax([measure(scorer, f"recent_popularity {h}") for h, scorer in enumerate(recent)]))
    encoder = untrained(config, world)
    texts = world.data.users.texts
    profiles = torch.zeros(len(texts), encoder.width)
    with_text = [user for user, text in enumerate(texts) if text]
    if with_text:
        with torch.no_grad():
            profiles[with_text] = encoder.texts([texts[user] for user in with_text])
    return Ready(config["seed"], best, encoder.all_items(), profiles)


def make_baselines(ready: Ready, world: World, history: int) -> dict[str, ScoreFunction]:
    """Name -> scorer, which remembers what ``world`` knows.

    Args:
        history: how many of a user's last items the text baselines look at.
    """
    data, as_of, catalogue = world.data, world.as_of, world.catalogue
    known = world.entered_by(world.split.t_test)
    scorers: dict[str, ScoreFunction] = {
        "random": baselines.random(ready.seed, len(data.items), data.users.ids),
        "constant": baselines.constant(len(data.items)),
        "popularity": baselines.popularity(as_of),
        "recent_popularity": baselines.recent_popularity(as_of, ready.half_life),
        "newest": baselines.newest(catalogue),
        "fewest_events": baselines.fewest_events(data, catalogue),
        "tfidf": baselines.TfIdf(data, catalogue, as_of, history, world.split.t_test),
        "zero_shot": baselines.zero_shot(ready.items, ready.profiles, known, as_of, history),
    }
    if data.repeats:
        scorers["own_repeats"] = baselines.own_repeats(as_of, data)
    return scorers


def _digest(world: World) -> str:
    """Of what baselines see of the data itself: two readings of one configuration may differ."""
    data, digest = world.data, hashlib.sha256()
    arrays = [data.log.user, data.log.item, data.log.time, data.log.positive, data.items.released_at]
    if data.impressions is not None:
        arrays += vars(data.impressions).values()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(json.dumps([data.items.texts, data.users.texts, data.users.ids]).encode())
    return digest.hexdigest()
