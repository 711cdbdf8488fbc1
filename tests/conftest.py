"""Shared by many tests: toy data sets to check by eye, and a world that a whole run gets through in
seconds."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from coldlm.config.schema import RunConfig, typed
from coldlm.core.tables import DAY, UNKNOWN, Dataset, Impressions, Items, Users, sorted_log

settings.register_profile("toy", max_examples=25, deadline=None, derandomize=True)
settings.load_profile("toy")

MICRO = (
    "dataset=simulated",
    "dataset.users=40",
    "dataset.items=60",
    "dataset.events=600",
    "train.epochs=1",
    "evaluate.latency_requests=2",
    "evaluate.lists=0",  # a quarter of its seconds: tests/experiment/test_lists.py asks for them
)

MakeConfig = Callable[..., RunConfig]
MakeData = Callable[..., Dataset]
Shown = Callable[..., Impressions]


def compose_micro(output: Path, cache: Path, *overrides: str) -> RunConfig:
    """The checked configuration of a micro run; ``overrides`` as on the command line."""
    from hydra import compose, initialize_config_dir

    from coldlm.config.check import check
    from coldlm.config.compose import plain
    from coldlm.config.tree import CONF

    is_tiny = not any(override.startswith("backbone=") for override in overrides)
    backbone = ["backbone=tiny_bert", "backbone.width=16"] if is_tiny else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values = plain(
            compose("run", [*MICRO, *backbone, f"output={output}", f"cache={cache}", *overrides])
        )
    check({**values, "stages": list(dict.fromkeys(["pretrain", "train", *values["stages"]]))})
    return typed(values)


def pytest_collection_finish() -> None:
    """What collection has imported is there to stay: runs, which collect garbage before they
    measure their memory, need not look at it each time."""
    gc.freeze()


CHROMIUM_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """An installed Chromium, driven by the extra ``browser``; for tests marked ``long``."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("no Chromium: install one (apt-get install chromium)")
    api = pytest.importorskip(
        "playwright.sync_api",
        reason="no playwright: pip install -c constraints.txt -e '.[browser]'",
    )
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text vectors, shared by all runs of the session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def config(tmp_path: Path, cache: Path) -> MakeConfig:
    """``config("seed=2")``: the checked configuration of a micro run with these overrides, below
    ``tmp_path``."""
    return lambda *overrides: compose_micro(tmp_path / "runs", cache, *overrides)


@pytest.fixture(scope="session")
def compose() -> MakeConfig:
    """``compose(output, cache, "seed=2")``, for fixtures that outlive a test."""
    return compose_micro


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a micro run with all stages; for reading only."""
    from coldlm.experiment.run import execute

    return execute(compose_micro(tmp_path_factory.mktemp("runs"), cache), "whole")


@pytest.fixture(scope="session")
def over_trained(
    tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> Callable[[RunConfig, str, str], Path]:
    """``over_trained(config, name, strategy)``: the folder of the run ``name`` of stage online alone,
    over a model of this strategy that was trained once for all."""
    from coldlm.experiment.run import execute

    models: dict[str, Path] = {}

    def run(config: RunConfig, name: str, strategy: str = "frozen") -> Path:
        if strategy not in models:
            small = "stages=[train]", "online.probe=0", "train.refit=false", "train.batch_size=64"
            lora = ("strategy.rank=2", "strategy.dropout=0.0") if strategy == "lora" else ()
            output = tmp_path_factory.mktemp("trained")
            made = compose_micro(output, cache, f"strategy={strategy}", *lora, *small)
            models[strategy] = execute(made, "run") / "model.safetensors"
        folder = Path(config.output) / name
        if not folder.exists():
            folder.mkdir(parents=True)
            shutil.copy(models[strategy], folder)
        return execute(replace(config, stages=["online"]), name)

    return run


@pytest.fixture(scope="session")
def make_data() -> MakeData:
    """``make_data([(user, item, seconds), ...])``: a toy data set; see ``toy``."""
    return toy


@pytest.fixture(scope="session")
def shown() -> Shown:
    """``shown((user, seconds, "3 1* 2"), ...)``: lists in time order, clicked items with a star."""
    return show


def show(*lists: tuple[int, int, str]) -> Impressions:
    places = [words.split() for _, _, words in lists]
    words = [word for words in places for word in words]
    return Impressions(
        user=np.array([user for user, _, _ in lists], np.int64),
        time=np.array([time for _, time, _ in lists], np.int64),
        start=np.cumsum([0, *map(len, places)]).astype(np.int64),
        item=np.array([int(word.removesuffix("*")) for word in words], np.int64),
        clicked=np.array([word.endswith("*") for word in words], np.bool_),
    )


@pytest.fixture(scope="session")
def show_blocks() -> Callable[..., Impressions]:
    """``show_blocks(data)``: a list for every (user, time) block of positives, in which any item
    may stand."""
    return list_blocks


def list_blocks(data: Dataset, seed: int = 0) -> Impressions:
    """Up to five other items beside what the user took, from a catalogue that grows; every fifth
    list has no click, and every fifth no other item."""
    draw, log = np.random.default_rng(seed), data.log
    blocks: dict[tuple[int, int], list[int]] = {}
    for row in np.flatnonzero(log.positive):
        blocks.setdefault((int(log.time[row]), int(log.user[row])), []).append(int(log.item[row]))
    lists = []
    for number, ((time, user), taken) in enumerate(sorted(blocks.items())):
        known = max(2, len(data.items) * (number + 1) // len(blocks))
        others = [
            i for i in draw.integers(0, known, draw.integers(1, 6)).tolist() if i not in taken
        ]
        words = [f"{item}*" for item in taken if number % 5 != 3] + [
            str(item) for item in others if number % 5 != 4
        ]
        if words:
            lists.append((user, time, " ".join(draw.permutation(words).tolist())))
    return show(*lists)


def toy(
    events: Sequence[tuple[int, ...]],
    *,
    users: int = 0,
    items: int = 0,
    released: dict[int, int] | None = None,
    texts: Sequence[str] = (),
    profiles: Sequence[str] = (),
    repeats: bool = False,
    ttl_seconds: float | None = None,
) -> Dataset:
    """Events are (user, item, seconds) or (user, item, seconds, is positive); half-lives are 10,
    100 and 1,000 s.

    ``users``, ``items``: sizes, where they exceed what the rest implies. ``released``: unknown by
    default.
    """
    user, item, time = (np.array([event[c] for event in events], np.int64) for c in range(3))
    positive = np.array([bool(event[3]) if len(event) > 3 else True for event in events], np.bool_)
    users = max(users, len(profiles), int(user.max()) + 1)
    items = max(items, len(texts), int(item.max()) + 1, *(code + 1 for code in released or ()))
    released_at = np.full(items, UNKNOWN, np.int64)
    for code, at in (released or {}).items():
        released_at[code] = at
    names = tuple(f"i{n}" for n in range(items))
    return Dataset(
        name="toy",
        domain="toy",
        items=Items(names, names, (*texts, *[""] * (items - len(texts))), released_at),
        users=Users(
            tuple(f"u{n}" for n in range(users)), (*profiles, *[""] * (users - len(profiles)))
        ),
        log=sorted_log(user, item, time, positive.astype(np.float64), positive),
        repeats=repeats,
        release="field" if released else "after_first",
        half_lives_days=(10 / DAY, 100 / DAY, 1000 / DAY),
        item_ttl_days=None if ttl_seconds is None else ttl_seconds / DAY,
    )


@pytest.fixture
def without_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items of simulated worlds have no release time: a grid lets them enter, and masks their counts."""
    from coldlm.data import simulated

    read = simulated.load

    def load(**keys: Any) -> Dataset:
        data = read(**keys)
        unknown = np.full(len(data.items), UNKNOWN)
        items = replace(data.items, released_at=unknown)
        return replace(data, items=items, release="after_first")

    monkeypatch.setattr(simulated, "load", load)
