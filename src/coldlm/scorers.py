"""The mandatory baselines over one world, ready to be judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from coldlm.evaluate import baselines
from coldlm.evaluate.judge import Judged, Scorer
from coldlm.world import World, untrained

_judged: dict[str, tuple[dict[str, Judged], float]] = {}
"""The last baselines judged in this process, by all that they depend on."""


def judge_baselines(
    config: Mapping[str, Any],
    world: World,
    history: int,
    measure: Callable[[Scorer, str], float],
    judge: Callable[[Scorer, str], Judged],
) -> tuple[dict[str, Judged], float]:
    """Name -> the stream as judged, and the half-life; once for all cells of a sweep that agree in what baselines see.

    Args: as in ``make_baselines``; judge: (scorer, name) -> its rows.
    """
    parts = {part: config[part] for part in ("dataset", "split", "backbone", "trainer", "seed")}
    asked = {part: config["evaluate"][part] for part in ("k", "candidates", "queries")}
    key = json.dumps([parts, history, asked, _digest(world)], sort_keys=True)
    if key not in _judged:
        scorers, half_life = make_baselines(config, world, history, measure)
        _judged.clear()
        _judged[key] = {name: judge(scorer, name) for name, scorer in scorers.items()}, half_life
    return _judged[key]


def make_baselines(
    config: Mapping[str, Any], world: World, history: int, measure: Callable[[Scorer, str], float]
) -> tuple[dict[str, Scorer], float]:
    """Name -> scorer, and the half-life of recent popularity in days, chosen on validation.

    Args:
    history: how many of a user's last items the text baselines look at.
    measure: (scorer, name) -> value on validation.
    """
    data, as_of, catalogue = world.data, world.as_of, world.catalogue
    recent = [baselines.recent_popularity(as_of, h) for h in range(3)]
    best = int(np.argmax([measure(scorer, f"recent_popularity {h}") for h, scorer in enumerate(recent)]))
    scorers: dict[str, Scorer] = {
        "random": baselines.random(config["seed"], len(data.items), data.users.ids),
        "constant": baselines.constant(len(data.items)),
        "popularity": baselines.popularity(as_of),
        "recent_popularity": recent[best],
        "newest": baselines.newest(catalogue),
        "fewest_events": baselines.fewest_events(data, catalogue),
        "tfidf": baselines.TfIdf(data, catalogue, as_of, history, world.split.t_test),
        "zero_shot": zero_shot(config, world, history),
    }
    if data.repeats:
        scorers["own_repeats"] = baselines.own_repeats(as_of, data)
    return scorers, data.half_lives_days[best]


def zero_shot(config: Mapping[str, Any], world: World, history: int) -> Scorer:
    """Cosine of the untouched backbone: the run's own has been trained."""
    encoder = untrained(config, world)
    texts = world.data.users.texts
    profiles = torch.zeros(len(texts), encoder.width)
    with_text = [user for user, text in enumerate(texts) if text]
    if with_text:
        with torch.no_grad():
            profiles[with_text] = encoder.texts([texts[user] for user in with_text])
    known = world.entered_by(world.split.t_test)
    return baselines.zero_shot(encoder.all_items(), profiles, known, world.as_of, history)


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
