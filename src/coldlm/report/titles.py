"""What comparisons are called: the data set, and in words what tells it from others over the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from coldlm.report.found import FinishedRun

ASKS: Final = ("dataset.", "split.", "release_slot", "online.label_delay_seconds", "online.probe")
"""How the keys begin that decide what is asked."""

COUNTS: Final = {"n_users": "users", "n_items": "items", "n_events": "events"}

MOST_LETTERS: Final = 40
"""Of a value."""

LETTERS: Final = 8
"""Of a hash, where nothing else tells two comparisons apart."""


def titles(groups: Sequence[Sequence[FinishedRun]]) -> list[str]:
    """Return a title per group of runs that answer the same question: the data set's name, and in
    brackets as little as tells it from the others of that name: which key has which value, else what
    the data count. Figures are named by it, and file names must not be long."""
    facts = [_facts(group) for group in groups]
    names = [str(group[0].question["dataset"]) for group in groups]
    return [_title(i, names, facts) for i in range(len(groups))]


def _title(own: int, names: Sequence[str], facts: Sequence[Mapping[str, str]]) -> str:
    rivals = [i for i, name in enumerate(names) if i != own and name == names[own]]
    said = []
    for fact, words in facts[own].items():
        alike = [i for i in rivals if facts[i].get(fact, words) == words]
        if len(alike) < len(rivals):
            said.append(words)
        rivals = alike
    return f"{names[own]} ({', '.join(said)})" if said else names[own]


def _facts(group: Sequence[FinishedRun]) -> dict[str, str]:
    """Fact -> how it is said, what tells a reader most first, what no reader can read last."""
    first = group[0]
    question, data = dict(first.question), first.manifest.data
    found = {name: f"{name} {question[name]}" for name in ("split", "candidates")}
    recipes = [run.manifest.recipe for run in group]
    for key in sorted({key for recipe in recipes for key in recipe if key.startswith(ASKS)}):
        if key.endswith("._target_"):
            continue
        values = [recipe.get(key) for recipe in recipes]
        if all(value == values[0] for value in values):
            found[key] = f"{key}={_short(values[0])}"
    found["drawn"] = f"evaluate.queries={first.manifest.drawn_queries or 'all'}"
    dates = {name: when for name, when in data.dates.items() if not isinstance(when, list)}
    found |= {name: f"{name} {when}" for name, when in dates.items()}
    for name, words in COUNTS.items():
        if question[name] is not None:
            found[name] = f"{question[name]:,} {words}"
    found["half_lives_days"] = f"half_lives_days {_short(question['half_lives_days'])}"
    for name, edges in data.dates.items():
        if isinstance(edges, list):
            found[f"number of {name}"] = f"{len(edges) - 1} {name}"
            found[name] = f"second of {name} from {edges[1]}" if len(edges) > 1 else f"no {name}"
    for file, digest in (data.hashes or {}).items():
        found[f"hash of {file}"] = f"{file} {str(digest)[:LETTERS]}"
    asked = first.results.filter(window=-1, cohort="all", bucket="all")["n_queries"]
    found["how many"] = f"{max(asked, default=0):,} queries"
    found["queries"] = f"other queries {str(question['queries'])[:LETTERS]}"
    digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
    found["everything"] = f"other facts {digest[:LETTERS]}"
    return found


def _short(value: Any) -> str:
    """A value in a few letters: of numbers those that count, of lists their parts."""
    if isinstance(value, list):
        return "/".join(map(_short, value)) or "none"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
