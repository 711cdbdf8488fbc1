"""What the rows of a run are called: what tells it from the others, in as few words as that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from coldlm.report.found import AnyRun
from coldlm.report.rows import WITHOUT_UPDATES

MOST_KEYS: Final = 3
"""Of those in which configurations differ, shown in a row's name."""

TOUCHES_TRAINING: Final = ("online.probe", "online.label_delay_seconds")
"""Keys of schedules that training before the stream knows of."""


@dataclass(frozen=True)
class Labels:
    """``moving``: of the rows of a run's schedule; ``standing``: of those whose weights stay as they
    were trained, which runs of other schedules have, too."""

    moving: str
    standing: str

    def of(self, schedule: str) -> str:
        """Return the label of the rows of one schedule."""
        return self.standing if schedule in WITHOUT_UPDATES else self.moving


def label_runs(runs: Sequence[AnyRun]) -> list[Labels]:
    """Return a short name per run: its strategy (or control), and whatever else tells it from the
    other rows of its kind. Its schedule is a column of its own."""
    settings = ("strategy", "backbone", "head", "context", "loss")
    # of scores from a file nothing but their name is known, and they make nobody's name longer
    kinds = [
        "file" if run.manifest.scores_from is not None else run.facts["control"] for run in runs
    ]
    shown = {
        kind: [
            s
            for s in settings
            if len({r.facts[s] for r, k in zip(runs, kinds, strict=True) if k == kind}) > 1
            and kind != "file"
        ]
        for kind in set(kinds)
    }
    values = {s: {str(run.facts[s]) for run in runs} for s in (*settings, "control")}
    labels = []
    for run, kind in zip(runs, kinds, strict=True):
        first = "strategy" if kind in ("none", "file") else "control"
        named = dict.fromkeys([first, *shown[kind]])
        words = [_shortest(str(run.facts[s]), values[s]) for s in named]
        labels.append(str(run.facts["strategy"]) if kind == "file" else " · ".join(words))
    moving = _told_apart(
        labels,
        [(kind, run.facts["online"]) for kind, run in zip(kinds, runs, strict=True)],
        [run.manifest.recipe for run in runs],
    )
    standing = _told_apart(
        labels,
        [(kind,) for kind in kinds],
        [before_the_stream(run.manifest.recipe) for run in runs],
    )
    return [Labels(*pair) for pair in zip(moving, standing, strict=True)]


def _shortest(value: str, values: set[str]) -> str:
    """``lora`` for "lora rank=8 alpha=16" if no other value begins with that word."""
    word = value.partition(" ")[0]
    return word if sum(other.partition(" ")[0] == word for other in values) == 1 else value


def before_the_stream(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without what happens in the stream."""
    return {
        key: value
        for key, value in recipe.items()
        if not key.startswith(("online.", "strategy.stream_")) or key in TOUCHES_TRAINING
    }


def _told_apart(
    labels: Sequence[str], kinds: Sequence[tuple[str, ...]], recipes: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Runs that look the same but are not (another learning rate, say) must not pass for two seeds
    of one: their labels say in which keys their recipes differ."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for label, kind, recipe in zip(labels, kinds, recipes, strict=True):
        known = groups.setdefault((label, *kind), [])
        if recipe not in known:
            known.append(recipe)
    named = []
    for label, kind, mine in zip(labels, kinds, recipes, strict=True):
        others = groups[label, *kind]
        keys = sorted({key for recipe in others for key in recipe})
        differing = [key for key in keys if any(r.get(key) != mine.get(key) for r in others)]
        shown = [f"{key.rpartition('.')[2]}={mine.get(key)}" for key in differing[:MOST_KEYS]]
        if len(differing) > MOST_KEYS:
            shown.append(f"recipe {others.index(mine) + 1} of {len(others)}")
        named.append(" · ".join([label, *shown]))
    return named
