"""The future scramble: garbage after a cut must not move a bit of what was scored before it.

```
time ->   train + validation | window 0 | window 1 | ...      cut at a window's edge, or in the middle of a window
          events, labels, texts as they are        x garbage  (how many events there are, and releases, are kept)
```
Under the grid rule the cut is the start of a slot: the rule lets an item in with the slot of its
first event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from coldlm.asof.catalogue import Catalogue
from coldlm.config.kinds import DataPolicy, Trigger
from coldlm.config.options import every
from coldlm.config.schema import RunConfig
from coldlm.core.columns import MANDATORY_BASELINES, MODEL
from coldlm.core.tables import DAY, UNKNOWN, Bools, Dataset, Impressions, Queries, Users, sorted_log
from coldlm.data import simulated
from coldlm.data.canonical.assemble import assemble
from coldlm.data.canonical.dataset import to_dataset
from coldlm.data.canonical.dated import DatedField
from coldlm.evaluate import baselines, judge
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.run import execute
from coldlm.experiment.world import cut

MakeConfig = Callable[..., RunConfig]
Read = Callable[..., Dataset]

READ: Read = simulated.load
WINDOWS = 4


def without_releases(**keys: Any) -> Dataset:
    """The simulated world as a log without release times shows it: items enter after their first
    event."""
    data = READ(**keys)
    unknown = np.full(len(data.items), UNKNOWN)
    return replace(data, items=replace(data.items, released_at=unknown), release="after_first")


def described(data: Dataset) -> Dataset:
    """The same world where texts change: at every other event somebody writes a line about the
    item. Of many items the first line is written long after their first event."""
    log, items, texts, profiles = data.log, data.items, data.items.texts, data.users.texts
    wrote = np.flatnonzero(log.user % 2 == 0)
    dated = pl.DataFrame(
        {
            "item_id": log.item[wrote],
            "timestamp": log.time[wrote],
            "field": "line",
            "value": [
                f"{texts[i]} {profiles[u]}"
                for u, i in zip(log.user[wrote], log.item[wrote], strict=True)
            ],
        }
    )
    events = pl.DataFrame(
        {"user_id": log.user, "item_id": log.item, "timestamp": log.time, "label": log.label}
    )
    tables = assemble(events, pl.DataFrame({"item_id": np.arange(len(items))}), dated=dated)
    changing = to_dataset(
        tables, name="described", domain="simulated", text="{line}", title="line", repeats=data.repeats,
        release="after_first", half_lives_days=data.half_lives_days, dated={"line": DatedField()},
    )  # fmt: skip
    return replace(
        data, items=replace(items, texts=changing.items.texts), texts_as_of=changing.texts_as_of
    )


def as_it_is(data: Dataset) -> Dataset:
    return data


def scramble(data: Dataset, time: int) -> Dataset:
    """``data`` with garbage for every event from ``time`` on, and for all texts of items and users
    first met then."""
    draw = np.random.default_rng(0)
    log, items, users = data.log, data.items, data.users
    late = log.time >= time
    n = int(late.sum())
    end = log.time[-1]

    def mixed(column: np.ndarray, garbage: np.ndarray) -> np.ndarray:
        return np.concatenate([column[~late], garbage])

    met = np.zeros(len(users), bool)
    met[log.user[~late]] = True
    known = Catalogue(data).enters_at <= time
    if data.impressions is not None:
        early = data.impressions.where(data.impressions.time < time)
        known[early.item] = True
    return replace(
        data,
        items=replace(items, texts=_garble(items.texts, known, draw)),
        users=Users(users.ids, _garble(users.texts, met, draw)),
        log=sorted_log(
            mixed(log.user, draw.integers(0, len(users), n)),
            mixed(log.item, draw.integers(0, len(items), n)),
            mixed(log.time, np.append(draw.integers(time, end, n - 1), end)),
            mixed(log.label, draw.normal(size=n)),
            mixed(log.positive, draw.random(n) < 0.7),
        ),
    )


def _garble(texts: tuple[str, ...], keep: Bools, draw: np.random.Generator) -> tuple[str, ...]:
    assert not keep.all()
    words = ["", "zebra", "乱码", "🫖 🫖", "spaceship " * 30, "x"]
    return tuple(
        text if kept else words[draw.integers(len(words))]
        for text, kept in zip(texts, keep, strict=True)
    )


def moments(read: Read, config: RunConfig) -> dict[str, int]:
    """An edge between two windows, the time of an event in the middle of a window, and the start of
    a day in it."""
    keys = {key: value for key, value in config.dataset.items() if key != "_target_"}
    data = read(**keys)
    split = cut(config, data)
    rows = np.searchsorted(data.log.time, split.edges)
    edge, middle = int(split.edges[2]), int(data.log.time[(rows[2] + rows[3]) // 2])
    return {"edge": edge, "middle": middle, "day": (edge // DAY + 1) * DAY}


def run(read: Read, config: RunConfig, name: str, patch: pytest.MonkeyPatch) -> Path:
    patch.setattr(simulated, "load", read)
    return execute(config, name)


def before(folder: Path, time: int) -> pl.DataFrame:
    return pl.read_parquet(folder / "events.parquet").drop("run").filter(pl.col("time") < time)


@pytest.mark.parametrize(
    ("overrides", "read", "dress", "place"),
    [
        pytest.param((), READ, as_it_is, "edge", marks=pytest.mark.long),
        ((), READ, as_it_is, "middle"),
        pytest.param(
            ("dataset.repeats=true", "strategy=lora", "optim.body_lr=1e-3"),
            without_releases,
            as_it_is,
            "middle",
            marks=pytest.mark.long,
        ),
        pytest.param(
            ("strategy=full", "backbone=tiny_gpt2", "head.user=mean", "loss=binary_cross_entropy"),
            READ,
            as_it_is,
            "middle",
            marks=pytest.mark.long,
        ),
        pytest.param((), without_releases, described, "middle", marks=pytest.mark.long),
        pytest.param(
            ("release_slot=day",), without_releases, as_it_is, "day", marks=pytest.mark.long
        ),
        (("release_slot=day",), without_releases, described, "day"),
        (
            ("control=permuted_in_cohort", "strategy=top", "optim.body_lr=1e-3"),
            READ,
            as_it_is,
            "middle",
        ),
    ],
    ids=[
        "edge",
        "middle",
        "no releases, lora",
        "full, gpt2",
        "texts that change",
        "grid",
        "grid, texts that change",
        "texts permuted within cohorts",
    ],
)
def test_garbage_after_a_cut_moves_no_bit_before_it(
    overrides: tuple[str, ...],
    read: Read,
    dress: Callable[[Dataset], Dataset],
    place: str,
    config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled = config(f"split.windows={WINDOWS}", "train.batch_size=128", *overrides)
    time = moments(read, settled)[place]
    true = run(lambda **keys: dress(read(**keys)), settled, "true", monkeypatch)
    scrambled = run(
        lambda **keys: dress(scramble(read(**keys), time)), settled, "scrambled", monkeypatch
    )
    left, right = before(true, time), before(scrambled, time)
    is_control = any(override.startswith("control=") for override in overrides)
    assert set(left["scorer"]) >= {
        MODEL,
        *(MANDATORY_BASELINES if not is_control else []),
        *(["own_repeats"] if "dataset.repeats=true" in overrides else []),
    }
    static = set() if is_control else {"static"}
    assert set(left["schedule"]) == {"history", "per_window"} | static
    assert left.filter(schedule="per_window")["version"].max() == (1 if place == "edge" else 2)
    assert_frame_equal(left, right, check_exact=True)
    assert (true / "model.safetensors").read_bytes() == (
        scrambled / "model.safetensors"
    ).read_bytes()
    after = [
        pl.read_parquet(folder / "events.parquet").filter(pl.col("time") >= time)
        for folder in (true, scrambled)
    ]
    assert not after[0].drop("run").equals(after[1].drop("run"))


PAIRS = {
    "every_n": ("replay", ("online.trigger.n=20", "online.data.size=40")),
    "every": ("window", ("online.trigger.days=1", "online.data.n=60")),
    "on_new_items": ("new_only", ("online.trigger.n=3", f"online.label_delay_seconds={DAY}")),
    "on_drift": (
        "cumulative",
        ("online.trigger.detector=page_hinkley", "online.trigger.sensitivity=0.9", "online.trigger.n=10"),
    ),
    "budget": ("shuffled", ("online.trigger.n=10", "online.trigger.updates_per_day=0.5")),
    "any_of": (
        "replay",
        ("online.trigger.n=25", "online.data.keep=herding", "online.data.size=40", "online.latency_seconds=600"),
    ),
    "every_window": ("replay", ("online.data.keep=popularity", "online.data.size=40")),
}  # fmt: skip
"""Every trigger that updates, with a data policy each, all of them but the oracle."""


def test_every_part_that_looks_at_the_stream_is_scrambled() -> None:
    assert set(PAIRS) == {option.name for option in every(Trigger) if option.updates}
    policies = {policy for policy, _ in PAIRS.values()}
    assert policies == {option.name for option in every(DataPolicy) if not option.cheats}


@pytest.mark.parametrize(
    "trigger",
    [pytest.param(t, marks=[] if t == "on_drift" else [pytest.mark.long]) for t in PAIRS],
)
def test_garbage_after_a_cut_moves_no_trigger_and_no_choice_of_data(
    trigger: str,
    config: MakeConfig,
    over_trained: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    none = {"leaks": {}, "dropped": 0, "others_would_drop": {}}
    monkeypatch.setattr(Evaluation, "meter_leaks", lambda *_: none)
    policy, keys = PAIRS[trigger]
    parts = (f"online/trigger={trigger}", f"online/data={policy}", "online/scope=context", *keys)
    settled = config(f"split.windows={WINDOWS}", "train.refit=false", *parts)
    time = moments(READ, settled)["middle"]
    true = over_trained(settled, "true")
    monkeypatch.setattr(simulated, "load", lambda **keys: scramble(READ(**keys), time))
    scrambled = over_trained(settled, "scrambled")
    clocks = ("seconds", "train_seconds", "encode_seconds", "peak_memory_mb")
    made = [
        pl.read_parquet(folder / "updates.parquet").drop(clocks).filter(pl.col("time") < time)
        for folder in (true, scrambled)
    ]
    assert len(made[0])
    # what comes of an update on validation's probe is known then
    assert_frame_equal(*made, check_exact=True)
    left, right = before(true, time), before(scrambled, time)
    assert left["version"].max() > 0  # type: ignore[operator]
    assert_frame_equal(left, right, check_exact=True)


def joined(first: Impressions, second: Impressions) -> Impressions:
    columns = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("user", "time", "item", "clicked")
    }
    return Impressions(**columns, start=np.append(first.start, first.start[-1] + second.start[1:]))


Scores = list[tuple[str, int, int, bytes, bytes]]
"""(scorer, user, time, items of a list, their scores), sorted."""


@pytest.fixture
def lists(
    config: MakeConfig, show_blocks: Callable[..., Impressions], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[tuple[Path, Scores], tuple[Path, Scores], int]]:
    """``lists(overrides...)``: a run over lists, one with garbage from a time on, and that time.
    With each folder what every scorer gave to every item of the lists before: an item that has not
    entered yet stands above the positive whatever its score knows of the future, so ranks do not
    tell."""

    def read(**keys: Any) -> Dataset:
        """Many items stand in lists before anybody has met them; there are several clicks of a user
        on one day."""
        data = without_releases(**keys)
        data = replace(data, log=replace(data.log, time=data.log.time // DAY * DAY))
        return replace(data, impressions=show_blocks(data))

    def both(*overrides: str) -> tuple[tuple[Path, Scores], tuple[Path, Scores], int]:
        settled = config(
            f"split.windows={WINDOWS}", "train.batch_size=128", "dataset.items=200", *overrides
        )
        settled = replace(settled, evaluate=replace(settled.evaluate, candidates="impression"))
        time = moments(read, settled)["middle"]

        def read_garbage(**keys: Any) -> Dataset:
            data = read(**keys)
            garbage = scramble(data, time)
            early, late = data.impressions, show_blocks(garbage, seed=1)
            assert early is not None
            shown = joined(early.where(early.time < time), late.where(late.time >= time))
            return replace(garbage, impressions=shown)

        return (
            noted(read, settled, "true", time),
            noted(read_garbage, settled, "scrambled", time),
            time,
        )

    def noted(read: Read, settled: RunConfig, name: str, time: int) -> tuple[Path, Scores]:
        scores: Scores = []

        def note(
            scorer: Any, queries: Queries, data: Dataset, catalogue: Catalogue, of: str, part: Any
        ) -> Any:
            found = score(scorer, queries, data, catalogue, of, part)
            asked = queries.slice(*part)
            assert asked.lists is not None
            for row, (user, at) in enumerate(
                zip(asked.user.tolist(), asked.time.tolist(), strict=True)
            ):
                items = asked.lists.item[asked.lists.start[row] : asked.lists.start[row + 1]]
                if at < time:
                    scores.append(
                        (
                            of,
                            user,
                            at,
                            items.tobytes(),
                            found[0][row, : len(items)].numpy().tobytes(),
                        )
                    )
            return found

        score = judge._chunk
        with monkeypatch.context() as patch:
            patch.setattr(judge, "_chunk", note)
            return run(read, settled, name, patch), sorted(scores)

    return both


def test_garbage_after_a_cut_moves_no_bit_of_the_lists_before_it(lists: Callable[..., Any]) -> None:
    # the probe is left out: of it later versions are asked, too
    (true, scores), (scrambled, scrambled_scores), time = lists("strategy=top", "online.probe=0")
    left, right = before(true, time), before(scrambled, time)
    asked = left.filter(scorer=MODEL, schedule="history")
    assert (asked["n_item"] == 0).sum() > 3
    assert asked["other_clicks"].max() > 0  # type: ignore[operator]
    assert set(left["schedule"]) == {"history", "static", "per_window"}
    assert_frame_equal(left, right, check_exact=True)
    assert {of for of, *_ in scores} >= {MODEL, *MANDATORY_BASELINES}
    assert scores == scrambled_scores
    assert (true / "model.safetensors").read_bytes() == (
        scrambled / "model.safetensors"
    ).read_bytes()
    after = [
        pl.read_parquet(folder / "events.parquet").filter(pl.col("time") >= time)
        for folder in (true, scrambled)
    ]
    assert not after[0].drop("run").equals(after[1].drop("run"))


def test_a_newest_first_that_looks_ahead_in_lists_is_caught(
    lists: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def foresee(catalogue: Catalogue) -> Any:
        order = np.unique(catalogue.enters_at, return_inverse=True)[1].astype(np.float32)
        return lambda users, times: torch.from_numpy(order).expand(len(users), -1)

    monkeypatch.setattr(baselines, "newest", foresee)
    (true, scores), (scrambled, scrambled_scores), time = lists("stages=[train,evaluate]")
    # ranks do not tell
    assert_frame_equal(before(true, time), before(scrambled, time), check_exact=True)
    caught = {
        left[0] for left, right in zip(scores, scrambled_scores, strict=True) if left != right
    }
    assert caught == {"newest"}


def test_a_scorer_that_looks_ahead_is_caught(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = baselines.popularity

    def foresee(as_of: Any) -> Any:
        return lambda users, times: honest(as_of)(users, times + 86_400)

    monkeypatch.setattr(baselines, "popularity", foresee)
    settled = config(f"split.windows={WINDOWS}", "stages=[train,evaluate]")
    time = moments(READ, settled)["middle"]
    true = run(READ, settled, "true", monkeypatch)
    scrambled = run(lambda **keys: scramble(READ(**keys), time), settled, "scrambled", monkeypatch)
    left, right = before(true, time), before(scrambled, time)
    is_honest = pl.col("scorer") != "popularity"
    assert_frame_equal(left.filter(is_honest), right.filter(is_honest), check_exact=True)
    assert not left.equals(right)
