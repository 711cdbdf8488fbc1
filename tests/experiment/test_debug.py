"""Debug runs: what they say, keep and refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coldlm.config.schema import RunConfig
from coldlm.core.errors import ColdlmError
from coldlm.experiment.run import execute
from coldlm.runs.manifest import read_manifest

MakeConfig = Callable[..., RunConfig]


def test_overfit_says_that_the_loss_fell_or_fails(
    config: MakeConfig,
) -> None:
    asked = "debug=overfit", "train.epochs=100", "optim.lr=0.02"
    folder = execute(config(*asked, "debug.falls_to=0.5"), "learns")
    assert "overfit: the training loss went from" in (folder / "run.log").read_text()
    assert read_manifest(folder).status == "FINISHED"
    # the texts of this world are alike, and so are their vectors: there is no more to learn
    with pytest.raises(ColdlmError, match=r"no overfit: .* in 100 steps, not to 10%"):
        execute(config(*asked), "stands")
    assert read_manifest(folder.parent / "stands").status == "FAILED"


def test_the_profiler_prints_and_keeps_where_time_went(
    config: MakeConfig,
) -> None:
    folder = execute(config("debug=profiler", "train.max_steps=2"), "run")
    kept = (folder / "profile-refit.txt").read_text()
    assert "run_training_batch" in kept  # Lightning's
    assert "aten::" in kept  # torch's
    assert "aten::" in (folder / "run.log").read_text()
