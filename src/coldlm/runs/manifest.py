"""``manifest.json``: what a run folder says of itself. The run fills it, the report reads it; both
by this type."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from coldlm.config.schema import ADDED, GONE, MOVED
from coldlm.core.errors import RunFolderError

NAME = "manifest.json"
ANEW = "run it again with this version, into a new output=..., or remove the folder"
"""What to do about a run folder that cannot be read."""

T = TypeVar("T")


PLACES = ("dataset.cache", "dataset.root")
"""Keys that say where data lies, and are no part of a recipe: what it is, its hashes say."""


@dataclass
class DataFacts:
    """The data set and its cut. ``hashes``: file -> sha256. ``counts``: policy -> how often it was
    applied. ``found``, ``warnings``: see ``Dataset``. ``dates``: t_val, t_test and the windows' edges.
    ``at_release``, ``before_release``: see ``split.leaks.release_facts``; None where no release is known.
    ``least_of_item``, ``least_of_user``: see ``split.leaks.selection_facts``. Counts of earlier versions
    may be None."""

    name: str
    dates: dict[str, Any]
    cut: str
    domain: str | None = None
    repeats: bool | None = None
    release: str | None = None
    half_lives_days: list[float] | None = None
    items_never_taken: int | None = None
    hashes: dict[str, str] | None = None
    counts: dict[str, int] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    n_users: int | None = None
    n_items: int | None = None
    n_events: int | None = None
    at_release: float | None = None
    before_release: float | None = None
    least_of_item: int | None = None
    least_of_user: int | None = None


@dataclass
class CheckpointFacts:
    """The backbone's checkpoint. ``date``: YYYY-MM of its publication, None if it has none."""

    name: str
    date: str | None = None
    newer_than_t_test: bool = False


@dataclass
class Manifest:
    """What a run says of itself; None is what it did not measure, or not yet.

    ``done``: its finished stages. ``deaths``: of processes over the stage behind them, see
    ``runs/claim.py``. ``tags``: words to find it by. ``axes``: what a sweep compares, by name. ``recipe``: every key
    that two seeds of one experiment share. ``seconds``: by stage. ``not_asked``,
    ``others_would_drop``: reason -> events. ``drawn_queries``: ``evaluate.queries``. ``leaks``: by
    kind, see ``split/leaks.py``. ``validation``: value by epoch, and the best epoch. ``trained_by``: the run of
    the same sweep whose weights it took. ``scores_from``: the file whose scores were judged, None where a
    model's were. ``matched``:
    the size that ``match_params`` chose. ``latency_ms``: percentile -> one request. ``question``:
    digest of what was asked. ``typed``: see ``split.queries.count_queries``, {} where nobody typed anything.
    ``canaries``: at n = 0, see ``report/canaries.py``. ``audit``: of the
    stream, see ``online/audit.py``. ``stream``: in numbers, see ``evaluate/continual.py``.
    ``rivals``: name -> setting, chosen value, quality on validation by value tried, epochs, and what an
    unseen item scores. ``on_validation``: baseline or rival -> nDCG. ``shown``: scorer -> what its
    lists hold, see ``evaluate/shown.py``. ``published``: what a paper says, see
    ``core/published.py``. ``tracked``: logger -> id of the run there. ``epochs``: trained before the
    stream by the stages that are done, all trainings together. ``unknown``: what another version has
    written.
    """

    config_hash: str
    status: str = "RUNNING"
    done: list[str] = field(default_factory=list)
    reason: str | None = None
    deaths: int | None = None
    run: str | None = None
    tags: list[str] = field(default_factory=list)
    axes: dict[str, str] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    commit: str | None = None
    command: str | None = None
    versions: dict[str, str | None] | None = None
    device: str | None = None
    threads: int | None = None
    seconds: dict[str, float | None] = field(default_factory=dict)
    dataset: DataFacts | None = None
    not_asked: dict[str, int] | None = None
    lists: dict[str, Any] | None = None
    typed: dict[str, int] | None = None
    drawn_queries: int | None = None
    pretrain: dict[str, Any] | None = None
    leaks: dict[str, int] | None = None
    dropped: int | None = None
    others_would_drop: dict[str, int] | None = None
    matched: dict[str, int] | None = None
    checkpoint: CheckpointFacts | None = None
    validation: dict[str, Any] | None = None
    refit: bool | None = None
    trained_by: str | None = None
    scores_from: dict[str, Any] | None = None
    events_per_second: float | None = None
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    checkpoint_bytes: int | None = None
    latency_ms: dict[str, float] | None = None
    first_stage: dict[str, Any] | None = None
    classification: dict[str, Any] | None = None
    recent_popularity_half_life_days: float | None = None
    rivals: dict[str, dict[str, Any]] | None = None
    on_validation: dict[str, float] | None = None
    question: str | None = None
    cohorts: list[dict[str, Any]] | None = None
    canaries: dict[str, dict[str, float]] | None = None
    seconds_per_update: float | None = None
    audit: dict[str, int] | None = None
    stream: dict[str, float | None] | None = None
    published: dict[str, Any] | None = None
    shown: dict[str, dict[str, float]] | None = None
    k_shot: dict[str, Any] | None = None
    peak_memory_mb: float | None = None
    tracked: dict[str, str] = field(default_factory=dict)
    epochs: float = 0.0
    unknown: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> DataFacts:
        """Return the data set's facts, which every run has that came past its preparation."""
        assert self.dataset is not None
        return self.dataset

    @property
    def best_epoch(self) -> int:
        """Return the epochs that validation chose."""
        assert self.validation is not None
        return int(self.validation["best_epoch"])

    def plain(self) -> dict[str, Any]:
        """Return what is written: what was measured, and why the run ended as it did."""
        values: dict[str, Any] = dataclasses.asdict(self)
        unknown: dict[str, Any] = values.pop("unknown")
        return {
            key: value for key, value in values.items() if value is not None or key == "reason"
        } | unknown

    @staticmethod
    def of(values: Mapping[str, Any]) -> Manifest:
        """Return the manifest that ``plain`` gave, of this version or another.

        Raises:
            KeyError, TypeError, ValueError: what every manifest holds is missing, or of another
                kind.
        """
        known = {f.name for f in dataclasses.fields(Manifest)} - {"unknown"}
        found = {key: value for key, value in values.items() if key in known}
        if not (isinstance(found["config_hash"], str) and isinstance(found["done"], list)):
            raise ValueError("config_hash or done is of another kind")
        if found.get("recipe") is not None:
            kept = {
                MOVED.get(key, key): value
                for key, value in found["recipe"].items()
                if key not in GONE and key not in PLACES
            }
            groups = {key.partition(".")[0] for key in kept}
            for group, target, key, value in ADDED:
                if group in groups and kept.get(f"{group}._target_", "") == target:
                    kept.setdefault(f"{group}.{key}", value)
            found["recipe"] = {"plugins": [], **kept}
        if found.get("stream") is not None:
            found["stream"] = {
                re.sub("^events_to", "item_events_to", key): value
                for key, value in found["stream"].items()
            }
        if found.get("dataset") is not None:
            found["dataset"] = _facts(DataFacts, found["dataset"])
        if found.get("checkpoint") is not None:
            found["checkpoint"] = _facts(CheckpointFacts, found["checkpoint"])
        return Manifest(
            **found, unknown={key: value for key, value in values.items() if key not in known}
        )


def _facts(kind: type[T], values: Mapping[str, Any]) -> T:
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in values.items() if key in known})


def read_manifest(folder: Path) -> Manifest:
    """Return what the run in ``folder`` says of itself.

    Raises:
        RunFolderError: nothing that can be read.
    """
    file = folder / NAME
    try:
        return Manifest.of(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{file} is no manifest of a run ({type(error).__name__}: {error}); {ANEW}"
        ) from error


def refuse_other_data(manifest: Manifest, hashes: Mapping[str, str], folder: Path) -> None:
    """Compare the raw files with those that the run in ``folder`` was made from.

    Raises:
        RunFolderError: a file has another content, or there are other files.
    """
    before = (
        hashes
        if manifest.dataset is None or manifest.dataset.hashes is None
        else manifest.dataset.hashes
    )
    if changed := sorted(
        name for name in {*before, *hashes} if before.get(name) != hashes.get(name)
    ):
        raise RunFolderError(
            f"{folder} was made from other data: {', '.join(changed)} changed since. "
            "Give this run another name=..., or put the files back (what happened since is learned from a "
            "file of its own: coldlm update)"
        )
