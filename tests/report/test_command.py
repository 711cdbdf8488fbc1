"""``coldlm report``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from coldlm.commands.report import main


def test_the_command_writes_a_report_and_says_where(make_run, tmp_path: Path, capsys) -> None:
    assert main([str(make_run("a")), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.md").exists()
    out = capsys.readouterr().out
    assert "INCOMPLETE" in out
    assert f"written to {tmp_path / 'out'}/: report.html" in out


def test_no_run_is_a_message_and_exit_code_2(tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no finished run under" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_names_the_files_and_the_default(capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert "figure.png" in out
    assert "default: report" in out


def test_reading_needs_no_torch_and_help_nothing_heavy() -> None:
    code = (
        "import sys\nfrom coldlm.commands.report import main\n"
        "assert not {'polars', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "import coldlm.report.write\nassert not {'torch', 'matplotlib', 'scipy.stats'} & "
        "set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
