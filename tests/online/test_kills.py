"""A run that is killed and started again leaves the files of one that nobody stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.long
@pytest.mark.parametrize("trials", [200])
def test_every_file_is_that_of_a_run_that_nobody_stopped(trials: int) -> None:
    done = subprocess.run(
        [sys.executable, str(KILLS), str(trials)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60 * trials,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{trials} kills")
