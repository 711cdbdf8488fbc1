"""``coldlm report``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from coldlm.commands.report import main
from coldlm.report.asked import Asked
from coldlm.report.measured import make_report
from coldlm.report.write import print_report


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


@pytest.mark.usefixtures("unpainted")
def test_quiet_prints_one_line(make_run, tmp_path: Path, capsys) -> None:
    assert main([str(make_run("a")), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"written to {tmp_path / 'out'}/: report.html")


def test_no_line_is_wider_than_the_terminal_and_the_rest_is_told(
    make_run, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(30):
        make_run(f"cell-{i}", value=0.03 + i / 1000, head=f"head_{i}", schedules=("history",))
    asked = Asked(against="popularity", only=(("strategy", ("lora",)),), sort="ndcg@10")
    report = make_report([tmp_path / "runs"], asked)
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        print_report(report)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= width
        first = next(i for i, line in enumerate(lines) if line.startswith("Quality"))
        table = lines[first:]
        assert 24 <= len(table) <= 45
        assert "head_29" in "".join(table)  # the best of them
        assert "head_0" not in "".join(table).replace("head_0,", "")
        rest = " ".join(" ".join(table).split())
        assert "17 more rows, of 38" in rest  # 20, and the best trivial row
        assert "columns left out: " in rest
        assert "micro nDCG@10" in rest


def test_a_choice_without_a_value_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["runs", "--only", "strategy"])
    assert "give AXIS=VALUE, such as strategy=lora,frozen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metric", "ndgc@10"], "did you mean ndcg@10"),
        (["--only", "strategy=lorra"], "did you mean lora"),
    ],
)
def test_what_is_asked_wrongly_is_told_before_anything_is_written(
    make_run, tmp_path: Path, capsys, options: list[str], said: str
) -> None:
    assert main([str(make_run("a")), "--out", str(tmp_path / "out"), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
