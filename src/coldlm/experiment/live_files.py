"""What comes in, line by line, and which runs can go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from coldlm.config.kinds import BackboneSource, DataPolicy, Head
from coldlm.config.options import chosen
from coldlm.config.schema import RunConfig
from coldlm.core.errors import ConfigError
from coldlm.runs.state_file import read_state, write_state

FOLDER, JOURNAL = "live", "journal.jsonl"
"""Of a run that goes on, in its folder."""

KEPT_VERSIONS = 5
"""Of which the state is kept."""

GROUPS = ("weights", "held", "memory", "moments", "waiting")
"""Of what an ``Updater`` gives."""

Groups = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class EventLine:
    """An event of a journal. ``time``: Unix seconds, -1 for now. ``text``: that the user had typed.
    ``request``: that it answers, and ``shown``: the list that it was taken from, "" and () if unknown."""

    user: str
    item: str
    time: int = -1
    label: float = 1.0
    positive: bool = True
    text: str = ""
    request: str = ""
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class ItemLine:
    """An item of a journal. ``text``: for the language model. ``released_at``: Unix seconds, -1 for
    now."""

    id: str
    title: str
    text: str
    released_at: int = -1


def refuse_config(config: RunConfig) -> None:
    """Refuse a run that cannot go on.

    Raises:
        ConfigError: it reads pairs, reads no text, or learns from what is to come.
    """
    if chosen(Head, config.head).reads_pairs:
        raise ConfigError(
            "this run's head reads users and items in pairs, or writes texts: a run that goes on needs "
            "head=towers or head=zero_shot (coldlm recommend answers from this one as it was trained)"
        )
    if not chosen(BackboneSource, config.backbone).reads_text:
        raise ConfigError(
            "this run's backbone reads no text, so a new item would be nothing to it: use a run with "
            "a language model"
        )
    if chosen(DataPolicy, config.online.data).cheats:
        raise ConfigError(
            "this run's online/data looks at what is to come, which nobody has: use another schedule"
        )


def write_version(folder: Path, number: int, groups: Groups, facts: dict[str, Any]) -> None:
    """Keep what update ``number`` has left, and of earlier ones the latest few."""
    tensors = {f"{group}/{key}": t for group, its in groups.items() for key, t in its.items()}
    write_state(folder / f"version-{number:06d}.safetensors", tensors, facts)
    for old in _versions(folder)[:-KEPT_VERSIONS]:
        old.unlink()


def read_version(folder: Path) -> tuple[Groups, dict[str, Any]] | None:
    """Return what the latest update has left, None where there was none.

    Raises:
        RunFolderError: the file is damaged.
    """
    if not (files := _versions(folder)):
        return None
    tensors, facts = read_state(files[-1])
    groups: Groups = {group: {} for group in GROUPS}
    for name, tensor in tensors.items():
        group, _, key = name.partition("/")
        groups[group][key] = tensor
    return groups, facts


def _versions(folder: Path) -> list[Path]:
    return sorted(folder.glob("version-*.safetensors"))
