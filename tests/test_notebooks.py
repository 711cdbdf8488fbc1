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


def shown_by(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[nbformat.NotebookNode]:
    """Run it from top to bottom; all that its cells show."""
    # the kernel that comes with this Python, whatever is installed for the user or the machine
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share" / "jupyter"))
    notebook = read(path)
    NotebookClient(
        notebook, kernel_name="python3", timeout=120, resources={"metadata": {"path": path.parent}}
    ).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.long
def test_a_run_is_read_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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

    shown = shown_by(ROOT / "notebooks" / "01_read_a_run.ipynb", monkeypatch)
    assert "no memory" in shown[0]["text"]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
    tables = "\n".join(output.get("data", {}).get("text/markdown", "") for output in shown)
    assert "| lora, per_window | 1 | .0506 |" in tables
    assert "INCOMPLETE" in tables


@pytest.mark.long
def test_the_live_loop_runs_from_top_to_bottom(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLDLM_RUN", str(finished))
    monkeypatch.setenv("COLDLM_QUERY", "guitar melody")
    shown = shown_by(ROOT / "notebooks" / "02_live_loop.ipynb", monkeypatch)
    said = "".join(output.get("text", "") for output in shown)
    assert "2 taken" in said
    assert "version 6: " in said
    lists = [output["data"]["text/markdown"] for output in shown if "data" in output]
    assert [each.splitlines()[0] for each in lists] == [f"version {n}" for n in (4, 4, 6, 6)]
    assert "New: guitar melody" in lists[-1]
    assert lists[0] != lists[1] != lists[2]
    assert not (finished / "live").exists()
