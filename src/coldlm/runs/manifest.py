"""What a run folder says of itself: whose it is and what is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coldlm.core.errors import RunFolderError
from coldlm.runs.identity import config_hash, difference


def open_run(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the run in ``folder``, a new one if there is none.

    Raises:
        RunFolderError: the folder holds a run of another configuration, and what differs; or no readable manifest.
    """
    if not (folder / "manifest.json").is_file():
        return {"status": "RUNNING", "done": [], "config_hash": config_hash(config)}
    manifest = read_manifest(folder)
    if manifest["config_hash"] != config_hash(config):
        raise RunFolderError(
            f"{folder} holds a run of another configuration: {difference(folder, config)}. "
            "Give this run another name=..., or remove the folder"
        )
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a run says of itself.

    Raises:
        RunFolderError: nothing that can be read.
    """
    file = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(manifest["config_hash"], str) and isinstance(manifest["done"], list):
            return manifest
        reason = "config_hash or done is of another kind"
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise RunFolderError(
        f"{file} is no manifest of a run ({reason}); give this run another name=..., or remove the folder"
    )


def refuse_other_data(manifest: Mapping[str, Any], hashes: Mapping[str, str], folder: Path) -> None:
    """Compare the raw files with those that the run in ``folder`` was made from.

    Raises:
        RunFolderError: a file has another content, or there are other files.
    """
    before = manifest.get("dataset", {}).get("hashes", hashes)
    if changed := sorted(name for name in {*before, *hashes} if before.get(name) != hashes.get(name)):
        raise RunFolderError(
            f"{folder} was made from other data: {', '.join(changed)} changed since. "
            "Give this run another name=..., or put the files back"
        )
