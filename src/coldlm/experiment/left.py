"""What is left to do of a run: asked before anything heavy is imported, since often it is nothing."""

from __future__ import annotations

from pathlib import Path

from coldlm.config.kinds import Trigger
from coldlm.config.options import chosen
from coldlm.config.schema import RunConfig
from coldlm.core import ranks
from coldlm.experiment.world import read_data
from coldlm.runs.identity import open_run
from coldlm.runs.manifest import Manifest, refuse_other_data


def what_is_left(config: RunConfig, folder: Path) -> tuple[Manifest, list[str]] | None:
    """Return the manifest of the run in ``folder``, a new one where there is none, and the stages that
    are not done; None where nothing is left, once its data has been looked at again.

    Raises:
        ConfigError: more or fewer processes were started for this run than it asks for.
        RunFolderError: the folder holds a run of another configuration, or of other data.
        DataError: the data of a finished run cannot be read.
    """
    ranks.refuse_another_world(config.trainer.devices)
    manifest = open_run(folder, config)
    stages: list[str] = [
        stage
        for stage in config.stages
        if stage not in manifest.done and not _is_off(stage, config)
    ]
    if manifest.status == "FINISHED" and not stages:
        refuse_other_data(manifest, read_data(config).hashes, folder)
        print(f"{folder} is finished already: nothing to do")
        return None
    return manifest, stages


def _is_off(stage: str, config: RunConfig) -> bool:
    """Whether a stage is passed over, since the group that it belongs to is off."""
    if stage == "online":
        return bool(chosen(Trigger, config.online.trigger).is_off)
    return stage == "pretrain" and config.pretrain.objective == "off"
