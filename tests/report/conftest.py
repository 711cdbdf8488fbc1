"""Synthetic run folders: consistent manifests, results and per-user values, small enough to know
every number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from coldlm.core.columns import COHORTS, K_SHOT_COLUMNS, MODEL, RESULT_COLUMNS, WARMUP_BUCKETS

N_USERS = 40
BASELINES = {
    "random": 0.002,
    "constant": 0.002,
    "popularity": 0.018,
    "recent_popularity": 0.026,
    "newest": 0.012,
    "fewest_events": 0.004,
    "tfidf": 0.015,
    "zero_shot": 0.017,
}
CONTROLS = {"context_only": 0.033, "random_vectors": 0.034, "permuted_text": 0.032}
OTHER_CONTROLS = {"permuted_in_cohort": 0.031}
STRATEGIES = {"frozen": 0.042, "lora": 0.046}
SCHEDULES = {"history": ("test", 1.0), "static": ("test", 0.6), "per_window": ("online", 1.1)}
EVENTS = {
    "item": (0, 90, 80, 140, 300, 410, 620, 1200),
    "user": (147, 140, 136, 250, 480, 600, 700, 387),
}

MakeRun = Callable[..., Path]


def users_of(value: float, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[N_USERS] values with mean ``value`` exactly (up to rounding): many zeros and a few large
    ones, as nDCG has."""
    raw = np.random.default_rng(seed).exponential(1.0, N_USERS)
    raw[:10] = 0
    return raw * value / raw.mean()


def result_rows(value: float, seed: int, n_windows: int = 4) -> list[dict[str, Any]]:
    """The long form of one scorer whose macro nDCG@10 is ``value``; the item bucket 0 has no
    event."""

    def line(value: float, n_events: int, **where: Any) -> dict[str, Any]:
        where = {
            "window": -1,
            "cohort": "all",
            "bucket": "all",
            "average": "macro",
            "metric": "ndcg",
            "k": 10,
        } | where
        return {
            **where,
            "value": value,
            "n_users": N_USERS,
            "n_queries": n_events,
            "n_events": n_events,
        }

    rows = [
        line(value * (1 - 0.05 * i), 2840 // (i + 1), cohort=cohort)
        for i, cohort in enumerate(COHORTS)
    ]
    rows += [line(value * 1.7, 2840, metric="recall"), line(value * 0.9, 2840, metric="mrr", k=0)]
    rows += [line(value * 0.8, 2840, average="micro")]
    rows += [line(value * (1 + 0.1 * w), 710, window=w) for w in range(n_windows)]
    wobble = np.random.default_rng(seed).normal(1, 0.06, (2, len(WARMUP_BUCKETS)))
    for b, by in enumerate(("item", "user")):
        for i, bucket in enumerate(WARMUP_BUCKETS):
            n = EVENTS[by][i]
            curve = value * (0.05 * 1.7**i if by == "item" else 0.8 + 0.06 * i) * wobble[b, i]
            rows.append(line(float(curve) if n else float("nan"), n, bucket=f"{by}:{bucket}"))
    return rows


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    return lambda name, **facts: write_run(tmp_path / "runs" / name, **facts)


@pytest.fixture
def make_runs(tmp_path: Path) -> Callable[..., Path]:
    """A folder with two strategies and three controls per seed; keyword arguments go to every
    run."""

    def make(seeds: tuple[int, ...] = (1,), **facts: Any) -> Path:
        for seed in seeds:
            for strategy in STRATEGIES:
                write_run(
                    tmp_path / "runs" / f"{strategy}-{seed}", strategy=strategy, seed=seed, **facts
                )
            for control in CONTROLS:
                write_run(
                    tmp_path / "runs" / f"{control}-{seed}", control=control, seed=seed, **facts
                )
        return tmp_path / "runs"

    return make


def write_shots(
    folder: Path, value: float = 0.02, most: int = 2, question: str = "q", sides: str = "item user"
) -> None:
    """``k_shot.parquet`` of a run, the model's value rising by a tenth at each k, and what its
    manifest says of it."""
    facts = pl.read_parquet(folder / "results.parquet").row(0, named=True)
    same = {name: facts[name] for name in K_SHOT_COLUMNS if name in facts}
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["k_shot"] = {"midpoint": "2018-01-01T00:00:00"}
    rows = []
    for side in sides.split():
        for shots in range(most + 1):
            scorers = [
                (MODEL, False, value * (1 + shots / 10)),
                (MODEL, True, value * (1.5 + shots / 10)),
            ]
            scorers += (
                [(name, False, v) for name, v in BASELINES.items()]
                if facts["control"] == "none"
                else []
            )
            rows += [
                same | {"side": side, "shots": shots, "scorer": scorer, "updated": updated, "average": average,
                        "metric": "ndcg", "k": 10, "value": v if average == "macro" else v / 2, "n_users": 30,
                        "n_queries": 50, "n_events": 55, "n_entities": 4, "question": f"{question}-{side}"}
                for scorer, updated, v in scorers
                for average in ("macro", "micro")
            ]  # fmt: skip
        manifest["k_shot"][side] = {
            "cold": 9, "eligible": 5, "counted out": 4, "queries": 50, "positives": 55, "question": question,
            "canaries": {
                str(shots): {
                    "fewest_events": {"value": 0.2 if shots < 1 else 0.001, "low": 0.1 - shots, "high": 0.3},
                    "newest": {"value": 0.1, "low": -0.1, "high": 0.3},
                    "constant": {"value": 0.002, "low": 0.0, "high": 0.0},
                }
                for shots in range(most + 1)
            } if facts["control"] == "none" else {},
        }  # fmt: skip
    pl.DataFrame(rows).select(K_SHOT_COLUMNS).write_parquet(folder / "k_shot.parquet")
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn but not painted, which takes a second each: for facts about the rest of a
    report."""
    blank = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 3 3"/>'
    monkeypatch.setattr("coldlm.report.write.render", lambda figure, kind: blank)


@pytest.fixture
def add_shots() -> Callable[..., None]:
    return write_shots


@pytest.fixture
def only_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are painted once, as text."""
    from coldlm.report.figure import render

    monkeypatch.setattr(
        "coldlm.report.write.render",
        lambda figure, kind: render(figure, kind) if kind == "svg" else b"",
    )


def write_run(
    folder: Path,
    *,
    strategy: str = "lora",
    control: str = "none",
    seed: int = 1,
    value: float | None = None,
    baselines: dict[str, float] | None = None,
    schedules: tuple[str, ...] = ("history", "static", "per_window"),
    manifest: dict[str, Any] | None = None,
    **facts: Any,
) -> Path:
    """One finished run. ``value``: macro nDCG@10 under the schedule "history". ``facts``: other
    ``RUN_COLUMNS``."""
    value = (
        value
        if value is not None
        else ({**CONTROLS, **OTHER_CONTROLS}.get(control) or STRATEGIES[strategy])
    )
    constants = {
        "run": folder.name, "dataset": "toy", "split": "time", "candidates": "full", "backbone": "minilm",
        "strategy": strategy, "head": "towers", "context": "counts", "loss": "sampled_softmax", "control": control,
        "seed": seed, "config_hash": f"{folder.name}-hash",
    } | facts  # fmt: skip
    results, users = [], []
    scorers = [(MODEL, value * SCHEDULES[s][1], s) for s in schedules]
    scorers += [
        (name, v, "history") for name, v in (BASELINES if baselines is None else baselines).items()
    ]
    for scorer, mean, schedule in scorers:
        own = (
            seed * 100 + sum(map(ord, strategy + control))
            if scorer == MODEL
            else sum(map(ord, scorer))
        )
        where = {"scorer": scorer, "schedule": schedule, "stage": SCHEDULES[schedule][0]}
        results += [{**constants, **where, **row} for row in result_rows(mean, own)]
        # everyone shares the pattern of luck, so that paired differences are small against the
        # spread of users
        values = 0.8 * users_of(mean, 0) + 0.2 * users_of(mean, own)
        users += [
            {"run": folder.name, "control": control, "strategy": strategy, "scorer": scorer, "schedule": schedule,
             "user": f"u{u:03}", "cohort": cohort, "metric": "ndcg", "k": 10, "value": v * (1 - 0.05 * i),
             "n_queries": 71, "n_events": 71}
            for i, cohort in enumerate(COHORTS)
            for u, v in enumerate(values)
        ]  # fmt: skip
    folder.mkdir(parents=True)
    pl.DataFrame(results).select(RESULT_COLUMNS).write_parquet(folder / "results.parquet")
    pl.DataFrame(users).write_parquet(folder / "per_user.parquet")
    (folder / "manifest.json").write_text(
        json.dumps(make_manifest(folder.name, strategy, constants) | (manifest or {}))
    )
    return folder


def make_manifest(run: str, strategy: str, facts: dict[str, Any]) -> dict[str, Any]:
    axes = {name: str(facts[name]) for name in ("strategy", "control", "seed")}
    heavy = {"frozen": 1.0, "lora": 6.0}.get(strategy, 2.0)
    return {
        "status": "FINISHED", "reason": None, "run": run, "config_hash": f"{run}-hash", "commit": "0123456789abcdef",
        "versions": {"polars": "2"}, "done": ["train", "evaluate", "online"],
        "dataset": {
            "name": "toy", "hashes": {"ratings.csv": "ab12cd34ef"}, "counts": {},
            "dates": {"t_val": "2015-08-02", "t_test": "2017-05-03"},
            "cut": "train < 2015-08-02 <= validation < 2017-05-03 <= stream",
            "n_users": 610, "n_items": 9742, "n_events": 48580, "release": "field", "items_never_taken": 12,
        },
        "question": "abcd", "recipe": {"optim.lr": 0.01}, "axes": axes,
        "checkpoint": {"name": "minilm", "date": "2015-08", "newer_than_t_test": False},
        "trainable_parameters": int(98_304 * heavy), "total_parameters": 22_713_216,
        "seconds": {"prepare": 20.0, "train": 40.0 * heavy, "refit": 10.0 * heavy, "evaluate": 12.0, "online": 30.0},
        "seconds_per_update": 2.5 * heavy, "events_per_second": 900 / heavy, "peak_memory_mb": 800 + 300 * heavy,
        "checkpoint_bytes": int(400_000 * heavy), "latency_ms": {"p50": 4.2, "p95": 6.1},
        "leaks": {"late training events": 0, "unreleased candidates": 0}, "dropped": 0,
        "others_would_drop": {"cold user": 1200, "cold item": 700, "any": 1500, "of": 2840}, "not_asked": {"label": 12},
        "cohorts": [{"cohort": c, "users": 147 - 9 * i, "events": 2840 // (i + 1), "share": 1 / (1 << i)}
                    for i, c in enumerate(COHORTS)],
        "canaries": {
            name: {"value": value, "low": low, "high": low + 0.004}
            for name, value, low in [
                ("newest", 0.004, -0.001),
                ("fewest_events", 0.003, -0.002),
                ("constant", 0.002, 0.0),
            ]
        },
    }  # fmt: skip
