"""The study ``agreement``: what other libraries make of the same files is what its table says."""

from __future__ import annotations

import csv
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

STUDY = Path(__file__).parents[1] / "studies" / "agreement"
HERE = ("coldlm", "scikit-learn")
"""Libraries that an environment of coldlm's holds; torchmetrics, which takes longest, is with the others."""

Row = dict[str, Any]


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("agreement", STUDY / "agreement.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def kept(libraries: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    with (STUDY / "agreement.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["library"] in libraries]
    return {key(row): float(row["value"]) for row in rows}


def key(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("positives", "scores", "metric", "library"))


def measured(
    study: ModuleType, libraries: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> dict[tuple[str, ...], float]:
    peers = {name: of for name, of in study.PEERS.items() if name in libraries}
    monkeypatch.setattr(study, "PEERS", peers)
    return {key(row): row["value"] for row in study.compare(repeats=0)}


@pytest.mark.filterwarnings("ignore")
def test_ours_and_what_is_installed_beside_it_give_the_table(
    study: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(study, HERE, monkeypatch)
    assert found == pytest.approx(kept(HERE), abs=1e-6)
    for metric in ("ndcg@10", "recall@10", "mrr", "auc"):
        # without ties all agree; a constant is the expectation of a draw
        assert (
            found["one", "distinct", metric, "coldlm"] > found["one", "constant", metric, "coldlm"]
        )
    assert found["one", "constant", "recall@10", "coldlm"] == pytest.approx(10 / 500)
    assert found["one", "constant", "auc", "coldlm"] == pytest.approx(1 / 2)


def test_the_readme_holds_the_tables_of_the_file(study: ModuleType) -> None:
    with (STUDY / "agreement.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row |= {name: float(row[name]) for name in ("value", "seconds")}
        row["ours"] = float(row["ours"]) if row["ours"] else ""
    readme = (STUDY / "README.md").read_text(encoding="utf-8")
    lines = [line for line in study.tables(rows) if line.startswith("| ")]
    assert len(lines) > 40
    assert [line for line in lines if line not in readme] == []


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", ["torchmetrics", "ranx", "ir_measures", "rectools", "recbole"])
def test_the_others_give_the_table(
    library: str, study: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, os.environ.get("COLDLM_PEERS", "")])
    pytest.importorskip(
        library, reason=f"{library} is not in the folder that COLDLM_PEERS names: run.sh makes one"
    )
    found = measured(study, ("coldlm", library), monkeypatch)
    assert found == pytest.approx(kept(("coldlm", library)), abs=1e-6)
