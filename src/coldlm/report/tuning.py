"""What a report says of tuning: how many trials chose the values of each strategy, and which values
they are."""

from __future__ import annotations

import json
from typing import Any

from coldlm.report.rows import Comparison

ASPECTS: dict[str, tuple[str, int | str]] = {
    "tuning.trials": ("trials on validation were", 0),
    "tuning.sampler": ("the sampler was", "random"),
    "tuning.space": ("the space was", "around"),
    "tuning.pruner": ("the pruner was", "none"),
}
"""What must be the same for all strategies: key of a recipe -> words, and what it is where nothing is said."""


def unequal_budgets(comparison: Comparison) -> list[str]:
    """Return one flag if strategies were tuned with different numbers of trials, or otherwise drawn or
    ended early; [] if not."""
    found = []
    for key, (words, usual) in ASPECTS.items():
        pairs = {
            (strategy, recipe.get(key) or usual) for strategy, recipe in _strategies(comparison)
        }
        if len({value for _, value in pairs}) > 1:
            values = ", ".join(f"{strategy} {value}" for strategy, value in sorted(pairs))
            found.append(f"{words} {values}")
    if not found:
        return []
    return [f"UNEQUAL TUNING: {'; '.join(found)}; tune all strategies alike (coldlm tune)"]


def tuned_values(comparison: Comparison) -> list[str]:
    """Return one footnote with budget and chosen values of every tuned strategy; [] if there is
    none."""
    parts = []
    for strategy, recipe in _strategies(comparison):
        if recipe.get("tuning.trials"):
            values = ", ".join(
                f"{key}={recipe.get(key)}" for key in recipe.get("tuning.keys") or ()
            )
            how = [
                f"{key.removeprefix('tuning.')} {recipe[key]}"
                for key, (_, usual) in ASPECTS.items()
                if key != "tuning.trials" and recipe.get(key, usual) != usual
            ]
            words = f"trials ({', '.join(how)})" if how else "trials"
            parts.append(
                f"{strategy}: {recipe['tuning.trials']} {words}, "
                f"{values or 'the values as configured'}"
            )
    where = "on validation, never on the stream, of this data and backbone or of others"
    return [f"Tuned {where}: {'; '.join(dict.fromkeys(parts))}."] if parts else []


def tuned_rivals(comparison: Comparison) -> list[str]:
    """Return what was chosen for each rival, of how many values, and what it makes of unseen items;
    [] without rivals."""
    chosen: dict[str, list[str]] = {}
    unseen: dict[str, list[str]] = {}
    for name, found in (pair for m in comparison.manifests for pair in (m.rivals or {}).items()):
        epochs = "" if found["epochs"] is None else f", {found['epochs']} epochs"
        said = f"{found['value']:g}{epochs}"
        values = chosen.setdefault(
            f"{name} ({found['setting']} of {', '.join(found['tried'])})", []
        )
        if said not in values:
            values.append(said)
        if name not in unseen.setdefault(found["unseen"], []):
            unseen[found["unseen"]].append(name)
    if not chosen:
        return []
    tuned = "; ".join(f"{rival}: {' or '.join(values)}" for rival, values in chosen.items())
    scores = "; ".join(f"{said} ({', '.join(names)})" for said, names in unseen.items() if said)
    return [
        f"Rivals, tuned on validation and learned anew with it: {tuned}.",
        *(
            [f"An item that nobody took in what a rival learned from scores with rivals: {scores}."]
            if scores
            else []
        ),
    ]


def _strategies(comparison: Comparison) -> list[tuple[str, dict[str, Any]]]:
    """Strategy and recipe of every run that is no control and no file, each pair once."""
    found = {
        json.dumps([m.axes["strategy"], m.recipe], sort_keys=True, default=str): m
        for m in comparison.manifests
        if m.axes["control"] == "none" and m.scores_from is None
    }
    return [(m.axes["strategy"], m.recipe) for _, m in sorted(found.items())]
