"""Schedules by name: what their five parts are, and what tables call any other five."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from coldlm.config.kinds import PARTS, DataPolicy, Node, Trigger
from coldlm.config.options import chosen, every, names


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
    Schedule("lsat", data="window", scope="short_adapter"),
    Schedule("adapter_per_update", scope="next_adapter"),
    Schedule("head_only", scope="head"),
    Schedule("retrain", data="cumulative", scope="reset_to_base"),
    Schedule("shuffled", data="shuffled"),
    Schedule("oracle", data="oracle"),
)
"""The named ones, in the order of tables."""

CHEATS = "CHEATS"
"""Mark of rows that have learned from what they were asked."""

STATIC = "static"
"""What tables call rows in which nothing follows the stream, neither weights nor histories."""

_plugged: tuple[Schedule, ...] = ()
"""Names that the packages give which the configuration at hand names, see ``plugins``."""


def plug(schedules: Sequence[Schedule]) -> None:
    """Let these names be used besides coldlm's own, and no others of other packages."""
    global _plugged
    _plugged = tuple(schedules)


def schedule_problems() -> Iterator[str]:
    """Yield what is wrong with the names of packages: taken, for parts that are not there or have
    a name."""
    for number, schedule in enumerate(_plugged):
        others = (*SCHEDULES, *_plugged[:number])
        where = f"the schedule {schedule.name}"
        if schedule.name in {STATIC, *(other.name for other in others)}:
            yield f"{where} is taken; rename it"
        for same in (other.name for other in others if other.parts == schedule.parts):
            yield f"{where} is made of the parts of {same}; leave it out"
        for kind, name in zip(PARTS, schedule.parts, strict=True):
            if name not in names(kind):
                yield f"{where} names {kind.group}={name}, which is no option"


def label_of(parts: Sequence[Node]) -> str:
    """Return what tables call a schedule of these five nodes, in the order of ``PARTS``: its name,
    or those of its options that are not the usual ones. Where nothing is ever updated the other
    parts do nothing, and are not said."""
    own = tuple(chosen(kind, node).name for kind, node in zip(PARTS, parts, strict=True))
    usual = Schedule("")
    if not chosen(Trigger, parts[0]).updates:
        own = (own[0], *usual.parts[1:])
    for schedule in (*SCHEDULES, *_plugged):
        if schedule.parts == own:
            return schedule.name
    return "+".join(
        [own[0], *(n for n, other in zip(own[1:], usual.parts[1:], strict=True) if n != other)]
    )


def cheats(label: str) -> bool:
    """Return whether a schedule that tables call so looks at what its weights will be asked for."""
    marked = {option.name for option in every(DataPolicy) if option.cheats}
    named = {schedule.name for schedule in SCHEDULES if schedule.data in marked}
    return label in named or not marked.isdisjoint(label.split("+"))
