"""The picture and the table of the floors, made from the tables that ``tests/test_layers.py``
checks the imports by."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

PURPOSE = {
    "core": "tables, names, errors, seeds",
    "asof": "what was known at time t",
    "config": "what a configuration may say",
    "data": "a reader per source",
    "split": "cuts, cohorts, queries, leaks",
    "text": "tokens, encoding, prompts",
    "models": "backbones, strategies, heads",
    "learn": "batches, negatives, training",
    "evaluate": "metrics, judge, baselines",
    "rivals": "methods of the field",
    "online": "test, then train",
    "report": "files to tables and figures",
    "runs": "the run folder",
    "experiment": "stages of a run",
    "commands": "what the shell calls",
    "top": "coldlm",
}
"""A few words per folder, for the picture."""

Floors = Mapping[str, tuple[str, ...]]

WIDTH, HEIGHT, GAP, BOX = 1000, 60, 44, 182


def read_tables(tests: Path) -> tuple[Floors, Mapping[str, set[str]]]:
    """``FLOORS`` and ``DOORS`` as they stand in the test, which is parsed and not run."""
    found = {}
    for node in ast.parse((tests / "test_layers.py").read_text(encoding="utf-8")).body:
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and target.id in ("FLOORS", "DOORS"):
            assert isinstance(node, ast.AnnAssign | ast.Assign)
            assert node.value is not None
            found[target.id] = ast.literal_eval(node.value)
    return found["FLOORS"], found["DOORS"]


def heights(floors: Floors) -> dict[str, int]:
    """How many folders lie below each on the longest way down."""
    level: dict[str, int] = {}

    def height(folder: str) -> int:
        if folder not in level:
            below = [height(each) for each in floors[folder] if each in floors and each != folder]
            level[folder] = max(below, default=-1) + 1
        return level[folder]

    for folder in floors:
        height(folder)
    return level


def arrows(floors: Floors) -> list[tuple[str, str]]:
    """(importer, imported), without those that follow from others."""
    below = {
        name: {each for each in floors[name] if each in floors and each != name} for name in floors
    }

    def all_below(name: str) -> set[str]:
        return below[name].union(*(all_below(each) for each in below[name]))

    return [
        (name, each)
        for name in floors
        for each in floors[name]
        if each in below[name]
        and not any(each in all_below(other) for other in below[name] - {each})
    ]


def make_picture(floors: Floors) -> str:
    """An SVG to stand inside a page: a box per folder, an arrow to what it may import; colours are
    the page's."""
    level = heights(floors)
    top = max(level.values())
    place: dict[str, tuple[float, float]] = {}
    for row in range(top + 1):
        names = [name for name in floors if level[name] == row]
        for i, name in enumerate(names):
            place[name] = ((i + 0.5) * WIDTH / len(names), (top - row) * (HEIGHT + GAP) + 10)
    lines = [
        f'<svg viewBox="0 0 {WIDTH} {(top + 1) * (HEIGHT + GAP)}" role="img" aria-label="folders '
        'and their imports" '
        'xmlns="http://www.w3.org/2000/svg" style="width:100%;height:auto;font-family:inherit">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="var(--md-default-fg-color--light, #888)"/></marker></defs>',
    ]
    for upper, lower in arrows(floors):
        (x, y), (u, v) = place[upper], place[lower]
        y, middle = y + HEIGHT, (y + HEIGHT + v) / 2
        lines.append(
            f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {middle:.0f} {u:.0f} {middle:.0f} {u:.0f} '
            f'{v - 2:.0f}" fill="none" '
            'stroke="var(--md-default-fg-color--light, #888)" stroke-width="1.2" '
            'marker-end="url(#tip)"/>'
        )
    for name, (x, y) in place.items():
        title = "cli.py" if name == "top" else f"{name}/"
        lines.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y:.0f}" width="{BOX}" height="{HEIGHT}" rx="6" '
            'fill="var(--md-default-bg-color, #fff)" stroke="var(--md-primary-fg-color, #345)" '
            'stroke-width="1.5"/>'
            f'<text x="{x:.0f}" y="{y + 26:.0f}" text-anchor="middle" font-size="17" '
            'font-weight="600" '
            f'fill="var(--md-default-fg-color, #222)">{title}</text>'
            f'<text x="{x:.0f}" y="{y + 46:.0f}" text-anchor="middle" font-size="12" '
            f'fill="var(--md-default-fg-color--light, #555)">{PURPOSE.get(name, "")}</text>'
        )
    return "".join([*lines, "</svg>"])


def make_table(floors: Floors, doors: Mapping[str, set[str]]) -> str:
    """A row per folder: what it may import, and which libraries have a door in it."""
    rows = ["| folder | what it is | may import | libraries |", "|---|---|---|---|"]
    level = heights(floors)
    for name in sorted(floors, key=lambda name: level[name]):
        inside = [
            library if name in where else f"{library} ({', '.join(sorted(here))})"
            for library, where in doors.items()
            if (
                here := {
                    each.removeprefix(f"{name}/") for each in where if each.split("/")[0] == name
                }
            )
        ]
        allowed = ", ".join(f"`{each}`" for each in floors[name] if each != name) or "nothing"
        title = "cli.py" if name == "top" else f"{name}/"
        rows.append(f"| `{title}` | {PURPOSE.get(name, '')} | {allowed} | {', '.join(inside)} |")
    return "\n".join(rows)
