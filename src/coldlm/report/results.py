"""FinishedRun folders on disk -> runs that may stand in one table; what cannot be read is skipped
and named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from coldlm.core.columns import DEBUG_KEY, K_SHOT_COLUMNS, RESULT_COLUMNS, RUN_COLUMNS
from coldlm.core.errors import RunFolderError
from coldlm.evaluate.continual import SERIES
from coldlm.report.asked import Asked, choose_runs, target_of, words_of
from coldlm.report.compare import compare
from coldlm.report.failed import failed_run, how_it_ended, question_of, same_run
from coldlm.report.found import FailedRun, FinishedRun, with_bucket
from coldlm.report.k_shot import compare_shots
from coldlm.report.pack import unpack
from coldlm.report.rows import Comparison
from coldlm.report.target import METRIC, VIEW_METRICS, K, Target
from coldlm.report.titles import titles
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


def read_runs(paths: Sequence[Path], asked: Asked | None = None) -> Runs:
    """Return every finished run in ``paths``: run folders, folders that hold run folders at any
    depth, or packed files; of them those that are ``asked`` for.

    Runs that differ in data, dates, split or candidates never share a table. A run that is
    unfinished, failed, broken or there twice is skipped and named; one that failed or diverged is
    missing from its comparison, which says so.

    Raises:
        RunFolderError: a path that does not exist, or no finished run under any of them.
        ConfigError: a metric, an axis or a value that no run has.
    """
    asked = asked or Asked()
    runs: dict[tuple[Any, ...], FinishedRun] = {}
    skipped: list[tuple[str, str]] = []
    failed: list[FailedRun] = []
    for folder, run in _find(paths, asked.metric):
        if isinstance(run, str):
            skipped.append((str(folder), run))
            failed += failed_run(folder)
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
    # what failed and was run again elsewhere is not missing
    failed = [run for run in failed if not any(same_run(run, other) for other in runs.values())]
    kept, lost = choose_runs(list(runs.values()), failed, asked.only)
    only = ""
    if asked.only:
        only = f"{words_of(asked.only)} leaves {len(runs) - len(kept)} of {len(runs)} runs out"
    others = [run for run in runs.values() if not any(run is it for it in kept)]
    comparisons = _compare_alike(kept, lost, others, target_of(asked.metric, kept), only)
    return Runs(tuple(kept), tuple(comparisons), tuple(skipped))


class _SkippedError(Exception):
    """Why one run folder takes no part."""


def _find(paths: Sequence[Path], metric: str) -> Iterator[tuple[Path, FinishedRun | str]]:
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
                yield (
                    manifest.parent,
                    _read_run(manifest.parent, metric, is_named=manifest.parent == path),
                )
            except _SkippedError as why:
                yield manifest.parent, str(why)


def _read_run(folder: Path, metric: str, *, is_named: bool) -> FinishedRun:
    """One run, test and online rows only; raises ``_SkippedError`` if it is unfinished or
    broken, or a debug run that was not asked for by its own folder."""
    manifest = _read_manifest(folder)
    if (debug := manifest.recipe.get(DEBUG_KEY)) and not is_named:
        raise _SkippedError(f"debug={debug}, which is no result; name its own folder to see it")
    results = _read_table(folder / "results.parquet", RESULT_COLUMNS).filter(
        pl.col("stage").is_in(["test", "online"])
    )
    users = _read_users(folder / "per_user.parquet", metric)
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
    if users.filter(cohort="all", bucket="all", metric=METRIC, k=K).is_empty():
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


def _read_users(file: Path, metric: str) -> pl.DataFrame:
    """What users have of nDCG@10, of its views, and of the metric that is asked for."""
    kept = pl.col("metric").is_in([METRIC, *VIEW_METRICS]) & (pl.col("k") == K)
    if metric:
        name, _, cut = metric.partition("@")
        kept |= (pl.col("metric") == name) & (pl.col("k").cast(pl.String) == (cut or "0"))
    return with_bucket(_read_table(file, USER_COLUMNS, ["bucket"])).filter(kept)


def _read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished run that has asked something."""
    try:
        manifest = Manifest.of(json.loads((folder / NAME).read_text(encoding="utf-8")))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise _SkippedError(f"{NAME} cannot be read ({type(error).__name__}: {error})") from error
    if manifest.status != "FINISHED":
        raise _SkippedError(": ".join(how_it_ended(folder, manifest)))
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


def _compare_alike(
    runs: list[FinishedRun],
    failed: Sequence[FailedRun],
    others: Sequence[FinishedRun],
    target: Target,
    only: str,
) -> list[Comparison]:
    """Runs over the same data, dates, split and candidates compared with each other, and with no
    others."""
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(json.dumps(run.question, sort_keys=True), []).append(run)
    left: dict[str, list[FinishedRun]] = {}
    for run in others:
        left.setdefault(json.dumps(run.question, sort_keys=True), []).append(run)
    by_question = list(groups.values())
    lost = [
        [run for run in failed if question_of(run, by_question) is group] for group in by_question
    ]
    comparisons = [
        replace(
            compare(title, group, target, its, left.get(key, ())),
            shots=compare_shots(group),
            only=only,
        )
        for (key, group), title, its in zip(groups.items(), titles(by_question), lost, strict=True)
    ]
    return sorted(comparisons, key=lambda comparison: comparison.title)
