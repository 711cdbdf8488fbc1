"""The example of a package with options of its own: installed apart, run, and reported where it is
not installed."""

from __future__ import annotations

import itertools
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import coldlm
from coldlm.config.build import build
from coldlm.config.plugins import folder_of, plug_problems
from coldlm.models.backbone import tiny
from coldlm.report.measured import make_report
from coldlm.report.table import further_table
from coldlm.report.write import write_report

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"

SMALL = ("backbone=tiny_bert", "backbone.width=16", "train.epochs=1", "evaluate.latency_requests=2")

PLUGIN = "plugins=[coldlm_example]"

MARK = "imported"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, which writes a file into the working directory whenever it is
    imported."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
    ]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", folder, EXAMPLE],
        check=True,
        timeout=120,
    )
    with (folder / "coldlm_example" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write(f"\nfrom pathlib import Path\n\nPath({MARK!r}).touch()\n")
    return folder


def call(installed: Path, folder: Path, *lines: Sequence[str]) -> list[tuple[int, str, bool]]:
    """Status and output of each ``coldlm`` command line, and whether the package was imported for
    it; one process."""
    script = (
        "import contextlib, io, json, os, sys\n"
        "from coldlm.cli import main\n"
        "found = []\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    text = io.StringIO()\n"
        "    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):\n"
        "        status = main(line)\n"
        f"    found.append((status, text.getvalue(), os.path.exists({MARK!r})))\n"
        "print(json.dumps(found))\n"
    )
    paths = [str(Path(coldlm.__file__).parents[1]), str(installed)]
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(lines)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return [tuple(each) for each in json.loads(done.stdout.splitlines()[-1])]


@pytest.fixture(scope="module")
def runs(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a sweep over a strategy of coldlm's and that of the package, with all its other
    options."""
    folder = tmp_path_factory.mktemp("work")
    line = [
        "run",
        "-m",
        PLUGIN,
        "strategy=norms,bitfit",
        "dataset=example",
        "online=every_other",
        *SMALL,
    ]
    ((status, said, _),) = call(installed, folder, line)
    assert status == 0, said
    return folder / "runs"


def frame(runs: Path, name: str) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(file) for file in sorted(runs.glob(f"*/{name}.parquet"))])


def test_a_sweep_leaves_results_of_every_option(runs: Path) -> None:
    results, users = frame(runs, "results"), frame(runs, "per_user")
    assert set(results["dataset"]) == {"example"}
    assert set(results["strategy"]) == {"norms layers=1", "bitfit"}
    assert {"oldest", "model", "newest"} <= set(results["scorer"])
    assert set(results["schedule"]) == {"static", "history", "every_other"}
    for table in (results, users):
        assert {"ndcg", "recall", "mrr", "rbp"} <= set(table["metric"])
        values = table.filter(metric="rbp", k=10, cohort="all")["value"]
        assert len(values)
        assert values.is_between(0, 0.2).all()
    # a trigger of its own: five windows, of which two and two are over together
    updates = pl.read_parquet(sorted(runs.glob("*norms*/updates.parquet"))[0])
    assert set(updates["reason"]) == {"2 windows are over"}
    assert set(updates["trigger"]) == {"every_other_window"}
    assert (updates["n_events"] > 0).to_list() == [True, True]


def test_a_report_needs_the_results_alone(runs: Path, tmp_path: Path) -> None:
    assert folder_of("coldlm_example") is None
    assert plug_problems([]) == []
    report = write_report([runs], tmp_path, tmp_path / "packed.parquet")
    assert report.runs.skipped == ()
    lines = pl.read_csv(tmp_path / "table.csv")
    strategies = lines.filter(kind="strategy")["label"].unique(maintain_order=True).to_list()
    assert strategies == ["bitfit", "norms"]  # coldlm's own first
    assert lines.filter(kind="baseline")["label"].to_list()[-1] == "oldest"
    assert lines["rbp@10"].null_count() == lines["rbp@10/micro"].null_count() == 0
    for file in ("report.md", "table.md"):
        assert "| scorer | rbp@10 | micro rbp@10 |" in (tmp_path / file).read_text(encoding="utf-8")
    assert "further metrics" in (tmp_path / "table.tex").read_text(encoding="utf-8")
    (packed,) = make_report([tmp_path / "packed.parquet"]).runs.comparisons
    assert further_table(packed) == further_table(report.runs.comparisons[0])


UNNAMED = (
    ["run", "--help"],
    ["run", "strategy=norms", "dataset=simulated", *SMALL],
    ["run", "dataset=example", *SMALL],
    ["run", "dataset=simulated", "online=every_other", *SMALL],
    ["run", "strategy=norm", "dataset=simulated", *SMALL],
)

NAMED = {
    ("strategy.layers=3",): "strategy.layers=3: the backbone has 2 layers; choose 1 to 2",
    ("strategy.layer=1",): "strategy.layer: unknown key; did you mean strategy.layers?",
    ("dataset.root=/nowhere",): "dataset.root=/nowhere: holds no books.csv and loans.csv",
    ("head.context=only",): "strategy=norms trains a backbone that head.context=only never reads",
    (
        "plugins=[coldlm_exemple]",
    ): "coldlm_exemple: no such package is installed; install it, or take it out of plugins "
    "(installed with options: coldlm_example)",
}


@pytest.fixture(scope="module")
def said(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str, bool]]:
    """What comes of the command lines ``UNNAMED`` and then ``NAMED``."""
    named = ["run", PLUGIN, "strategy=norms", "dataset=example", *SMALL]
    return call(
        installed,
        tmp_path_factory.mktemp("refused"),
        *UNNAMED,
        *([*named, *more] for more in NAMED),
    )


def test_without_being_named_a_package_is_seen_and_not_imported(
    said: list[tuple[int, str, bool]],
) -> None:
    assert [was_imported for *_, was_imported in said] == [False] * len(UNNAMED) + [True] * len(
        NAMED
    )
    assert [status for status, *_ in said[: len(UNNAMED)]] == [0, 2, 2, 2, 2]
    listed, *refused, misspelt = (text for _, text, _ in said[: len(UNNAMED)])
    for option in ("norms", "example", "every_other"):
        assert f" {option}" in listed
    for text in refused:
        assert "1 problem" in text
        assert "it is of another package: add plugins=[coldlm_example]" in text
    assert "did you mean norms?" in misspelt


def test_named_it_is_checked_like_coldlms_own(said: list[tuple[int, str, bool]]) -> None:
    for (status, text, _), expected in zip(said[len(UNNAMED) :], NAMED.values(), strict=True):
        assert status == 2
        assert "1 problem" in text
        assert expected in text


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package at hand in this process, for what needs no installation."""
    monkeypatch.syspath_prepend(EXAMPLE / "src")


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_strategy_keeps_the_contract(family: str, layers: int) -> None:
    assert plug_problems(["coldlm_example"]) == []
    untouched = tiny(family=family, layers=2, width=16)
    body = build(
        {"_target_": "coldlm_example.strategies.norms", "layers": layers},
        tiny(family=family, layers=2, width=16),
    )
    plug_problems([])
    trained = {name: p for name, p in body.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == layers * 2 * 16
    assert all(
        name.endswith("weight") and ("LayerNorm" in name or "ln_" in name) for name in trained
    )
    assert (body.depth, body.base_trained, body.starts_untouched) == (3 - layers, True, True)
    ids, mask = torch.tensor([[5, 6, 7], [8, 9, 4]]), torch.ones(2, 3, dtype=torch.bool)
    vectors = body(ids, mask)
    assert torch.equal(vectors, untouched(ids, mask))
    vectors.square().sum().backward()
    assert all(p.grad is not None for p in trained.values())


@pytest.mark.usefixtures("example")
def test_the_metric_is_the_mean_over_all_orders_of_the_ties() -> None:
    from coldlm_example.metrics import PERSISTENCE, rbp

    places = list(itertools.product(range(8), range(1, 6)))
    g, e = (torch.tensor(column) for column in zip(*places, strict=True))
    expected = [
        sum((1 - PERSISTENCE) * PERSISTENCE ** (r - 1) for r in range(g + 1, g + e + 1) if r <= 5)
        / e
        for g, e in places
    ]
    torch.testing.assert_close(rbp(g, e, 5), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.usefixtures("example")
def test_the_baseline_ranks_by_entry() -> None:
    from coldlm_example.baselines import oldest

    catalogue = type("Catalogue", (), {"enters_at": np.array([30, 10, 20, 90])})()
    scores = oldest(None, None, catalogue)(np.array([0, 0]), np.array([50, 15]))  # type: ignore[arg-type]
    assert scores[0].argsort(descending=True).tolist() == [1, 2, 0, 3]
    assert scores[1, 1] > scores[1, 0] == scores[1, 2] == scores[1, 3]


@pytest.mark.usefixtures("example")
def test_the_data_are_those_that_the_script_makes(tmp_path: Path) -> None:
    script = runpy.run_path(str(EXAMPLE / "make_files.py"))
    script["main"].__globals__["FOLDER"] = tmp_path
    script["main"]()
    for name in ("books.csv", "loans.csv"):
        made = EXAMPLE / "src" / "coldlm_example" / "files" / name
        assert (tmp_path / name).read_bytes() == made.read_bytes()
