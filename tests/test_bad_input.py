"""Odd data of a user's own, from files on disk through the command line: it works, or it says what
to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from coldlm.cli import main
from coldlm.core.columns import MODEL

Event = tuple[str, str, int, float]
Try = Callable[..., int]

DAY = 86_400
ITEMS = {f"i{i}": f"title {i} of {'tea' if i % 2 else 'guitar'}" for i in range(30)}


def events(users: int = 20, items: int = len(ITEMS), count: int = 300) -> list[Event]:
    """(user, item, time, label) at distinct times; no user meets an item twice as long as there are
    enough pairs."""
    pairs = np.random.default_rng(0).permutation(users * items)[np.arange(count) % (users * items)]
    return [
        (f"u{pair // items}", f"i{pair % items}", DAY + 3600 * n, 1.0)
        for n, pair in enumerate(pairs)
    ]


@pytest.fixture
def run(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Try:
    """``run(log, texts, overrides...)``: write the files, run them as ``coldlm run`` would; the
    exit status."""
    monkeypatch.chdir(tmp_path)

    def run(
        log: Sequence[Event], *overrides: str, texts: dict[str, str | None] | None = None
    ) -> int:
        texts = dict(ITEMS) if texts is None else texts
        released = [0] * len(texts)
        pl.DataFrame(
            {"item_id": list(texts), "title": list(texts.values()), "released_at": released}
        ).cast({"title": pl.String}).write_parquet("items.parquet")
        columns = ["user_id", "item_id", "timestamp", "label"]
        pl.DataFrame(log, schema=columns, orient="row").write_csv("events.csv")
        line = [
            "dataset=own",
            "dataset.items=items.parquet",
            "dataset.interactions=events.csv",
            "backbone=tiny_bert",
        ]
        line += [
            "backbone.width=16",
            "train.epochs=1",
            "evaluate.latency_requests=1",
            "name=mine",
            f"cache={cache}",
        ]
        return main(["run", *line, *overrides])

    return run


def manifest() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path("runs/mine/manifest.json").read_text())
    return content


def results() -> pl.DataFrame:
    """Values of the whole stream, all finite."""
    table = pl.read_parquet("runs/mine/results.parquet")
    assert table["value"].is_finite().all()
    return table.filter(window=-1, cohort="all", bucket="all")


# --- what works -------------------------------------------------------------------------------------------------------


def test_users_with_one_event_each_are_asked_without_a_history(run: Try) -> None:
    assert (
        run([(f"u{n}", item, time, label) for n, (_, item, time, label) in enumerate(events())])
        == 0
    )
    rows = pl.read_parquet("runs/mine/events.parquet")
    assert (rows["n_user"] == 0).all()
    assert set(rows["cohort"]) <= {"cold_user", "cold_both"}
    line = results().filter(scorer=MODEL, schedule="history", metric="ndcg")
    assert line["value"].n_unique() == 1  # one query a user: macro is micro


def test_a_single_user_is_enough(run: Try) -> None:
    assert run(events(users=1, count=30), "split.windows=2") == 0
    assert (results()["n_users"] == 1).all()


def test_what_was_found_out_is_stated_in_log_and_manifest(run: Try) -> None:
    assert run(events(users=1, count=30), "split.windows=2") == 0
    data, said = manifest()["dataset"], Path("runs/mine/run.log").read_text(encoding="utf-8")
    assert data["found"] == {
        "items.parquet": "parquet",
        "events.csv": "utf-8, fields between commas",
        "text": "{title}",
        "released_at of items.parquet": "s",
        "timestamp of events.csv": "s",
    }
    assert len(data["warnings"]) == 2  # of both columns of times
    for warning in data["warnings"]:
        assert "all times are in 1970, read as s; are they what you mean?" in warning
        assert f"W {warning}" in said
    assert "found: text: {title}" in said


@pytest.mark.parametrize("missing", ["all", "some"])
def test_items_without_text_are_counted_and_ranked(run: Try, missing: str) -> None:
    texts: dict[str, str | None] = {
        item: None if missing == "all" or n % 3 else t for n, (item, t) in enumerate(ITEMS.items())
    }
    assert run(events(), texts=texts) == 0
    assert manifest()["dataset"]["counts"]["items_without_text"] == (30 if missing == "all" else 20)
    if missing == "all":
        rows = pl.read_parquet("runs/mine/events.parquet").filter(scorer="tfidf")
        assert (rows["e"] == rows["candidates"]).all()  # nothing to tell items apart by


@pytest.mark.parametrize("strategy", ["frozen", "full"])
def test_texts_of_any_kind_are_read(run: Try, strategy: str) -> None:
    odd = [
        "x" * 100_000,
        "🫖🎸" * 50,
        "茶壶，吉他",
        "e\u0301" * 40,
        "\u202eright to left",
        "   ",
        "a\x00b",
        "\ufeff",
        "{title}",
    ]
    texts: dict[str, str | None] = {**ITEMS, **{f"i{n}": text for n, text in enumerate(odd)}}
    assert run(events(), f"strategy={strategy}", texts=texts) == 0
    assert manifest()["dataset"]["counts"]["texts_over_10000_chars"] == 1
    assert results().height > 0


def test_a_catalogue_smaller_than_k_is_ranked_whole(run: Try) -> None:
    texts: dict[str, str | None] = {f"i{i}": ITEMS[f"i{i}"] for i in range(5)}
    assert run(events(items=5), "dataset.repeats=true", texts=texts) == 0
    assert (results().filter(metric="recall")["value"] == 1).all()
    assert (pl.read_parquet("runs/mine/events.parquet")["candidates"] == 5).all()


def test_a_window_without_a_positive_teaches_nothing(run: Try) -> None:
    log = [
        (u, i, t, 0.0 if 265 <= n < 290 else label) for n, (u, i, t, label) in enumerate(events())
    ]
    # about 60 events in the stream, so window 2 is about 270 to 284
    assert run(log, "split.windows=4") == 0
    updates = pl.read_parquet("runs/mine/updates.parquet")
    assert (
        updates["n_events"].to_list()[2]
        == updates["bytes"].to_list()[2]
        == 0
        < updates["n_events"][0]
    )
    assert not updates["rolled_back"].any()
    assert sorted(set(pl.read_parquet("runs/mine/events.parquet")["window"])) == [0, 1, 3]


def test_events_at_one_time_are_one_query_of_each_user(run: Try) -> None:
    log = [
        (u, i, DAY + 3600 * (n // 5), label)
        for n, (u, i, _, label) in enumerate(events(users=3, count=90))
    ]
    assert run(log, "split.windows=2") == 0
    rows = pl.read_parquet("runs/mine/events.parquet").filter(scorer=MODEL, schedule="history")
    assert rows["query"].n_unique() == rows.select("user", "time").n_unique() < rows.height


def test_paths_of_any_script_need_no_quotes(
    run: Try, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(events(), "stages=[train]", "name=first") == 0
    for file, text in (("items.parquet", "数据/商品.parquet"), ("events.csv", "数据/交互 (1).csv")):
        (tmp_path / text).parent.mkdir(exist_ok=True)
        (tmp_path / file).rename(tmp_path / text)
    line = [
        "dataset=own",
        "dataset.items=数据/商品.parquet",
        "dataset.interactions=数据/交互 (1).csv",
    ]
    line += [
        "stages=[train]",
        "backbone=tiny_bert",
        "backbone.width=16",
        "train.epochs=1",
        "cache=cache",
    ]
    assert main(["run", *line, "name=甲"]) == 0
    assert main(["run", "-m", *line, "seed=1,2"]) == 0
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["run", *line, "dataset.items=~/数据/商品.parquet", "output=家 里"]) == 0
    assert Path("runs/甲/manifest.json").is_file()
    (folder,) = Path("家 里").iterdir()
    assert folder.name.startswith("dataset=own,backbone=tiny_bert,")


# --- what is refused --------------------------------------------------------------------------------------------------


def without_positives(part: slice) -> list[Event]:
    log = events()
    log[part] = [(u, i, t, 0.0) for u, i, t, _ in log[part]]
    return log


@pytest.mark.parametrize(
    ("log", "overrides", "message"),
    [
        (
            [(u, i, DAY, label) for u, i, _, label in events()],
            (),
            "the time split leaves an empty part",
        ),
        (
            [(u, i, DAY + n // 20, label) for n, (u, i, _, label) in enumerate(events())],
            (),
            "split.windows=5",
        ),
        (without_positives(slice(0, 210)), (), "the training part holds no positive"),
        (
            without_positives(slice(0, 210)),
            ("loss=binary_cross_entropy",),
            "the training part holds no positive",
        ),
        (without_positives(slice(200, 245)), (), "the validation part holds no positive"),
        (without_positives(slice(235, 300)), (), "the stream part holds no positive"),
    ],
    ids=[
        "one time",
        "few times",
        "train",
        "train, bce",
        "validation",
        "stream",
    ],
)
def test_data_that_cannot_be_used_is_refused_in_words(
    run: Try,
    capsys: pytest.CaptureFixture[str],
    log: list[Event],
    overrides: tuple[str, ...],
    message: str,
) -> None:
    assert run(log, *overrides) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert manifest()["status"] == "FAILED"
    assert message in manifest()["reason"]


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (without_positives(slice(0, 300)), "no positive event"),
        ([*events(), ("u1", "I1", DAY, 1.0)], "'i1' is another id: case and blanks count"),
        ([*events(), ("u1", "i1", 1_700_000_000_000, 1.0)], "in data row 301 (line 302) ms"),
    ],
    ids=["nowhere", "unknown item", "ms"],
)
def test_bad_rows_are_found_before_anything_is_made(
    run: Try, tmp_path: Path, capsys: pytest.CaptureFixture[str], log: list[Event], message: str
) -> None:
    assert run(log) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "1 problem in the configuration" in said
    assert not (tmp_path / "runs").exists()


def test_missing_files_are_found_before_anything_is_made(
    run: Try, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(events(), "dataset.users=nowhere.csv", "dataset.items=items.xlsx") == 2
    said = capsys.readouterr().err
    assert "2 problems in the configuration" in said
    assert not (tmp_path / "runs").exists()
