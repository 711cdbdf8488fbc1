"""Which weights a run ended with. No torch in here."""

from __future__ import annotations

from pathlib import Path

from coldlm.core.errors import RunFolderError

LEFT_BY = {"online": "online.safetensors", "train": "model.safetensors"}
"""Stage -> its weights in a run folder, the last stage first."""

PUSHED = "head/head.json"
"""What tells a pushed run from a run."""


def weights_of(run: Path, stage: str | None = None) -> tuple[str, Path]:
    """Return the stage whose weights ``run`` ended with, and their file; of ``stage`` where it is named.

    Raises:
        RunFolderError: there are none, or they were pushed.
    """
    if (run / PUSHED).is_file():
        raise RunFolderError(
            f"{run} is a pushed run: it holds weights for other software, and neither its configuration nor the "
            "catalogue; give the run folder that it was pushed from"
        )
    there = {name: run / file for name, file in LEFT_BY.items() if (run / file).is_file()}
    if not there:
        raise RunFolderError(
            f"{run} holds no trained model ({LEFT_BY['train']}); "
            f"train one: coldlm run output={run.parent} name={run.name}"
        )
    if stage is not None and stage not in there:
        raise RunFolderError(
            f"{run} holds no weights of stage {stage} ({LEFT_BY[stage]}); there are those of "
            f"{', '.join(there)}"
        )
    found = next(iter(there)) if stage is None else stage
    return found, there[found]
