"""The top of a folder holds what a configuration can name; what it is made of lies below."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import coldlm
from coldlm.config.tree import CONF

GROUPS = {"data": ("dataset",), "models": ("backbone", "strategy", "head", "loss")}


@pytest.mark.parametrize("folder", GROUPS)
def test_the_top_holds_the_modules_that_configurations_name(folder: str) -> None:
    files = [file for group in GROUPS[folder] for file in (CONF / group).rglob("*.yaml")]
    targets = {
        str(yaml.safe_load(file.read_text(encoding="utf-8")).get("_target_")) for file in files
    }
    top = Path(coldlm.__file__).parent / folder
    modules = {
        f"coldlm.{folder}.{path.stem}" for path in top.glob("*.py") if path.stem != "__init__"
    }
    assert {target.rpartition(".")[0] for target in targets - {"None"}} == modules
