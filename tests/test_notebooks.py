"""Every notebook is stored without outputs and runs from top to bottom on a run folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path: Path) -> None:
    for cell in read(path).cells:
        assert not cell.get("outputs"), (
            f"run `jupyter nbconvert --clear-output --inplace {path.name}`"
        )
        assert cell.get("execution_count") is None


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location(
        "report_conftest", ROOT / "tests" / "report" / "conftest.py"
    )
    assert spec is not None
    assert spec.loader is not None
    synthetic = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(synthetic)
    synthetic.write_run(tmp_path / "runs" / "lora-1")
    synthetic.write_run(tmp_path / "runs" / "context-1", control="context_only")
    synthetic.write_run(
        tmp_path / "runs" / "failed", seed=2, manifest={"status": "FAILED", "reason": "no memory"}
    )
    monkeypatch.setenv("COLDLM_RUNS", str(tmp_path / "runs"))

    # the kernel that comes with this Python, whatever is installed for the user or the machine
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share" / "jupyter"))
    notebook = read(path)
    NotebookClient(
        notebook, kernel_name="python3", timeout=120, resources={"metadata": {"path": path.parent}}
    ).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert "no memory" in shown[0]["text"]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
    tables = "\n".join(output.get("data", {}).get("text/markdown", "") for output in shown)
    assert "| lora, per_window | 1 | .0506 |" in tables
    assert "INCOMPLETE" in tables
