"""Schedules by name: what their five parts are, and what tables call any other five."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coldlm.config.options import PARTS, DataPolicy, Node, chosen, every


@dataclass(frozen=True)
class Schedule:
    """How the weights follow the stream, a name for its five parts, each the name of an option; as
    ``online=name`` composes them, and in tables."""

    name: str
    trigger: str = "every_window"
    data: str = "new_only"
    regulariser: str = "none"
    scope: str = "everything"
    gate: str = "finite"

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names of its options, in the order of ``PARTS``."""
        return self.trigger, self.data, self.regulariser, self.scope, self.gate


SCHEDULES: tuple[Schedule, ...] = (
    Schedule("off", trigger="off"),
    Schedule("history", trigger="never"),
    Schedule("per_window"),
    Schedule("every_n", trigger="every_n"),
    Schedule("every_day", trigger="every"),
    Schedule("on_new_items", trigger="on_new_items"),
    Schedule("on_drift", trigger="on_drift"),
    Schedule("budget", trigger="budget"),
    Schedule("any_of", trigger="any_of"),
    Schedule("replay", data="replay"),
    Schedule("ewc", regulariser="ewc"),
    Schedule("distill", regulariser="distill"),
    Schedule("peso", regulariser="peso"),
    Schedule("der", data="replay", regulariser="der"),
    Schedule("long_short", data="window", scope="reset_to_trained"),
    Schedule("head_only", scope="head"),
    Schedule("retrain", data="cumulative", scope="reset_to_base"),
    Schedule("shuffled", data="shuffled"),
    Schedule("oracle", data="oracle"),
)
"""The named ones, in the order of tables."""


def label_of(parts: Sequence[Node]) -> str:
    """Return what tables call a schedule of these five nodes, in the order of ``PARTS``: its name,
    or those of its options that are not the usual ones."""
    names = tuple(chosen(kind, node).name for kind, node in zip(PARTS, parts, strict=True))
    usual = Schedule("")
    for schedule in SCHEDULES:
        if schedule.parts == names:
            return schedule.name
    return "+".join(
        [names[0], *(n for n, other in zip(names[1:], usual.parts[1:], strict=True) if n != other)]
    )


def cheats(label: str) -> bool:
    """Return whether a schedule that tables call so looks at what its weights will be asked for."""
    marked = {option.name for option in every(DataPolicy) if option.cheats}
    named = {schedule.name for schedule in SCHEDULES if schedule.data in marked}
    return label in named or not marked.isdisjoint(label.split("+"))
