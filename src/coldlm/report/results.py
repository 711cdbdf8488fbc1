"""FinishedRun folders on disk -> runs that may stand in one table; what cannot be read is skipped
and named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from coldlm.core.columns import K_SHOT_COLUMNS, RESULT_COLUMNS, RUN_COLUMNS
from coldlm.core.errors import RunFolderError
from coldlm.evaluate.continual import SERIES
from coldlm.report.compare import compare
from coldlm.report.k_shot import compare_shots
from coldlm.report.pack import unpack
from coldlm.report.rows import METRIC, VIEW_METRICS, Comparison, FinishedRun, K, with_bucket
from coldlm.runs.manifest import NAME, Manifest

USER_COLUMNS = ("scorer", "schedule", "user", "cohort", "metric", "k", "value")

NEEDED = (
    "recipe",
    "axes",
    "question",
    "dataset",
    "leaks",
    "dropped",
    "others_would_drop",
    "not_asked",
    "cohorts",
    "canaries",
)
"""Of the manifest; what a run did not measure, such as a cost, may be missing and is shown as
such."""

NOTHING_ASKED = "no test or online results: run it with the stage `evaluate` or `online`"

LIST_ROW = (
    "scorer",
    "query",
    "user",
    "rank",
    "item",
    "title",
    "asked",
    "cold_user",
    "history",
    "wanted",
)

PROBE = ("window", "part", "value")

LISTS = 100
"""Of a scorer's lists, the first so many are compared between seeds and shown."""

MOST_LETTERS = 40
"""Of a list that is shown as it is."""


@dataclass(frozen=True)
class Runs:
    """What was found under the paths given.

    ``found``: every run that takes part. ``comparisons``: one per set of runs that answered the
    same queries among the same candidates, in the order of their titles. ``skipped``: (folder, why)
    of every run that is not in any of them.
    """

    found: tuple[FinishedRun, ...]
    comparisons: tuple[Comparison, ...]
    skipped: tuple[tuple[str, str], ...]


def read_runs(paths: Sequence[Path]) -> Runs:
    """Return every finished run in ``paths``: run folders, folders that hold run folders at any
    depth, or packed files.

    Runs that differ in data, dates, split or candidates never share a table. A run that is
    unfinished, failed, broken or there twice is skipped and named.

    Raises:
        RunFolderError: a path that does not exist, or no finished run under any of them.
    """
    runs: dict[tuple[Any, ...], FinishedRun] = {}
    skipped: list[tuple[str, str]] = []
    for folder, run in _find(paths):
        if isinstance(run, str):
            skipped.append((str(folder), run))
            continue
        twin = runs.setdefault(run.key, run)
        if twin is not run:
            skipped.append((str(folder), f"the same configuration and seed as {twin.folder}"))
    if not runs:
        found = (
            "".join(f"\n  {folder}: {why}" for folder, why in skipped)
            or "\n  no folder with a manifest.json"
        )
        raise RunFolderError(
            f"no finished run under {', '.join(map(str, paths)) or 'no path at all'}:{found}\n"
            "Give run folders, or a folder that holds some; `coldlm run` makes them."
        )
    return Runs(tuple(runs.values()), tuple(_compare_alike(list(runs.values()))), tuple(skipped))


class _SkippedError(Exception):
    """Why one run folder takes no part."""


def _find(paths: Sequence[Path]) -> Iterator[tuple[Path, FinishedRun | str]]:
    """(folder, its run or why it takes no part)."""
    seen = set()
    for path in paths:
        if path.is_file():
            yield from ((run.folder, run) for run in unpack(path))
            continue
        if not path.is_dir():
            raise RunFolderError(
                f"{path} is not there: give run folders, folders that hold run folders, or a file "
                "of coldlm report --pack"
            )
        for manifest in sorted(path.rglob(NAME)):
            if manifest.resolve() in seen:
                continue
            seen.add(manifest.resolve())
            try:
                yield manifest.parent, _read_run(manifest.parent)
            except _SkippedError as why:
                yield manifest.parent, str(why)


def _read_run(folder: Path) -> FinishedRun:
    """One run, test and online rows only; raises ``_SkippedError`` if it is unfinished or
    broken."""
    manifest = _read_manifest(folder)
    results = _read_table(folder / "results.parquet", RESULT_COLUMNS).filter(
        pl.col("stage").is_in(["test", "online"])
    )
    users = _read_users(folder / "per_user.parquet")
    broken = results.filter(
        ~pl.col("value").is_finite().fill_null(False) & (pl.col("n_events") > 0)
    ).height
    broken += users.filter(~pl.col("value").is_finite().fill_null(False)).height
    if broken:
        raise _SkippedError(
            f"{broken} values are not finite although they have events: run it again"
        )
    if results.is_empty():
        raise _SkippedError(NOTHING_ASKED)
    if users.filter(cohort="all", bucket="all", metric=METRIC).is_empty():
        raise _SkippedError(
            f"per_user.parquet holds no {METRIC}@{K} over all users: run it with evaluate.k={K}"
        )
    facts = results.select(*RUN_COLUMNS, "seed", "config_hash").unique()
    if facts.height != 1:
        raise _SkippedError(
            f"results.parquet holds {facts.height} runs or seeds, a run folder holds one"
        )
    online = {"online": (manifest.axes or {}).get("online", "")}
    shots, stream = folder / "k_shot.parquet", folder / "stream.parquet"
    lists, probes = folder / "lists.parquet", folder / "probes.parquet"
    return FinishedRun(
        folder,
        manifest,
        facts.row(0, named=True) | online,
        results,
        users,
        _read_table(shots, K_SHOT_COLUMNS) if shots.is_file() else None,
        _read_table(stream, list(SERIES)) if stream.is_file() else None,
        _read_table(lists, LIST_ROW, ["typed"]).filter(pl.col("query") < LISTS)
        if lists.is_file()
        else None,
        _read_table(probes, PROBE) if probes.is_file() else None,
    )


def _read_users(file: Path) -> pl.DataFrame:
    """What users have of the headline metric and of its views."""
    kept = pl.col("metric").is_in([METRIC, *VIEW_METRICS])
    return with_bucket(_read_table(file, USER_COLUMNS, ["bucket"])).filter(kept, k=K)


def _read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished run that has asked something."""
    try:
        manifest = Manifest.of(json.loads((folder / NAME).read_text(encoding="utf-8")))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise _SkippedError(f"{NAME} cannot be read ({type(error).__name__}: {error})") from error
    if manifest.status != "FINISHED":
        raise _SkippedError(
            f"{manifest.status}: {manifest.reason}" if manifest.reason else manifest.status
        )
    if manifest.question is None and not (folder / "results.parquet").is_file():
        raise _SkippedError(NOTHING_ASKED)
    if missing := [name for name in NEEDED if _is_missing(getattr(manifest, name), name)]:
        raise _SkippedError(f"{NAME} lacks {', '.join(missing)}")
    return manifest


def _is_missing(fact: object, name: str) -> bool:
    return fact is None or (name in ("axes", "recipe") and not fact)


def _read_table(path: Path, columns: Sequence[str], may: Sequence[str] = ()) -> pl.DataFrame:
    """``columns`` of a table, and those that it ``may`` have."""
    try:
        there = pl.read_parquet_schema(path)
        return pl.read_parquet(path, columns=[*columns, *(name for name in may if name in there)])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _SkippedError(f"{path.name} cannot be read ({str(error).splitlines()[0]})") from error


def _compare_alike(runs: list[FinishedRun]) -> list[Comparison]:
    """Runs over the same data, dates, split and candidates compared with each other, and with no
    others."""
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(json.dumps(run.question, sort_keys=True), []).append(run)
    questions = {key: group[0].question for key, group in groups.items()}
    comparisons = [
        replace(
            compare(_title(questions[key], list(questions.values())), group),
            shots=compare_shots(group),
        )
        for key, group in groups.items()
    ]
    return sorted(comparisons, key=lambda comparison: comparison.title)


def _title(question: dict[str, Any], all_questions: list[dict[str, Any]]) -> str:
    """The data set's name, and in brackets as little as tells it from other comparisons over a data
    set of that name: figures are named by it, and file names must not be long."""
    rivals = [
        other
        for other in all_questions
        if other["dataset"] == question["dataset"] and other != question
    ]
    facts = []
    for name in sorted(
        question, key=lambda name: name in ("queries", "windows")
    ):  # what no reader can read comes last
        alike = [other for other in rivals if other[name] == question[name]]
        if len(alike) < len(rivals):
            facts.append(f"{name} {_short(question[name])}")
        rivals = alike
    return f"{question['dataset']} ({', '.join(facts)})" if facts else str(question["dataset"])


def _short(fact: Any) -> str:
    """A fact in a few letters: of hashes the first eight each, of windows their number and a hash
    of their starts."""
    if isinstance(fact, dict):
        return "/".join(str(value)[:8] for value in fact.values()) or "none"
    if isinstance(fact, list) and len(str(fact)) > MOST_LETTERS:
        return f"{len(fact) - 1} {hashlib.sha256(str(fact).encode()).hexdigest()[:8]}"
    return str(fact)
