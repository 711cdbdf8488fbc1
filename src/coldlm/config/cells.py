"""A sweep's cells: which there are, in what order they are checked, and what tells some from the
others."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import Override

from coldlm.config.overrides import texts_of
from coldlm.config.tree import Options

MAX_CELLS = 64
"""Cells of a sweep that are checked whole beforehand, each swept value at least once; of the others
only that they can be composed, which is quick: the rest is checked in their turn."""

MAX_NAMED = 8
"""Cells that a problem names."""

Cell = tuple[str, ...]
"""The overrides of one cell, as they are typed."""


@dataclass(frozen=True)
class Grid:
    """The cells of a command line. ``axes``: the values of each key, as overrides; ``swept``: those
    of several values, and those that were asked for as a sweep."""

    axes: dict[str, list[str]]
    swept: tuple[str, ...]

    def cells(self) -> list[Cell]:
        """Return all combinations, the last axis fastest."""
        return list(itertools.product(*self.axes.values()))

    def sample(self) -> list[Cell]:
        """Return up to ``MAX_CELLS``: first those in which one axis leaves its first value, then
        the others."""
        axes = list(self.axes.values())
        firsts = [axis[0] for axis in axes]
        single = (
            [*firsts[:i], text, *firsts[i + 1 :]]
            for i, axis in enumerate(axes)
            for text in axis[1:]
        )
        order = itertools.chain([firsts], single, itertools.product(*axes))
        return list(dict.fromkeys(map(tuple, itertools.islice(order, MAX_CELLS))))

    def label(self, cell: Cell, keys: Iterable[str] | None = None) -> str:
        """Return what tells a cell from the others: its values of the swept keys, or of
        ``keys``."""
        shown = set(self.swept if keys is None else keys)
        return ",".join(text for key, text in zip(self.axes, cell, strict=True) if key in shown)

    def name(self, chosen: Sequence[Cell]) -> list[str]:
        """Return the labels of these cells, without the keys that do not matter: those all of whose
        values are among them."""
        keys, left = list(self.swept), {*chosen}
        for key in self.swept:
            at = list(self.axes).index(key)
            without = {(*cell[:at], *cell[at + 1 :]) for cell in left}
            if len(without) * len(set(self.axes[key])) == len(left):
                keys.remove(key)
                left = {cell for cell in left if cell[at] == self.axes[key][0]}
        return list(dict.fromkeys(self.label(cell, keys) for cell in chosen))


def make_grid(overrides: Sequence[Override], options: Options) -> Grid:
    """Return the grid of these overrides; of several for one key, the last counts, in the place of
    the first."""
    by_key = {o.get_key_element(): o for o in overrides}
    axes = {key: texts_of(override, options) for key, override in by_key.items()}
    return Grid(
        axes, tuple(key for key, override in by_key.items() if override.is_sweep_override())
    )


def told_once(grid: Grid, by_cell: dict[Cell, list[str]]) -> Iterator[str]:
    """Yield each problem once, with the cells that have it where not all have."""
    seen: dict[str, list[Cell]] = {}
    for cell, found in by_cell.items():
        for problem in found:
            seen.setdefault(problem, []).append(cell)
    for problem, where in seen.items():
        if len(where) == len(by_cell):
            yield problem
            continue
        names = grid.name(where)
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        yield (
            f"{problem} (in {len(where)} of {len(by_cell)} cells: "
            f"{'; '.join(names[:MAX_NAMED])}{more})"
        )
