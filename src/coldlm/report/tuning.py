"""What a report says of tuning: how many trials chose the values of each strategy, and which values
they are."""

from __future__ import annotations

import json
from typing import Any

from coldlm.report.rows import Comparison


def unequal_budgets(comparison: Comparison) -> list[str]:
    """Return one flag if strategies were tuned with different numbers of trials; [] otherwise."""
    trials = sorted(
        {
            (strategy, int(recipe.get("tuning.trials") or 0))
            for strategy, recipe in _strategies(comparison)
        }
    )
    if len({n for _, n in trials}) < 2:
        return []
    budgets = ", ".join(f"{strategy} {n}" for strategy, n in trials)
    return [
        f"UNEQUAL TUNING: trials on validation were {budgets}; tune all strategies alike (coldlm "
        "tune)"
    ]


def tuned_values(comparison: Comparison) -> list[str]:
    """Return one footnote with budget and chosen values of every tuned strategy; [] if there is
    none."""
    parts = []
    for strategy, recipe in _strategies(comparison):
        if recipe.get("tuning.trials"):
            values = ", ".join(
                f"{key}={recipe.get(key)}" for key in recipe.get("tuning.keys") or ()
            )
            parts.append(
                f"{strategy}: {recipe['tuning.trials']} trials, "
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
