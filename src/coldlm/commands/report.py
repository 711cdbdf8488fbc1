"""``coldlm report``: the runs in some folders as tables and figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from coldlm.core.errors import ColdlmError

DESCRIPTION = """\
Read finished runs and write tables and figures. Nothing is trained or scored: only files are read.

Runs over the same data, dates, split and candidates share a table; seeds are averaged; baselines, which every
run repeats, appear once. Unfinished and failed runs are skipped and named."""

EPILOG = """\
files written:
  report.md              everything below on one page
  table.md, table.tex    the headline table: quality with intervals, distance to the best trivial row, cost
  cohorts.csv            every strategy in every cohort of every data set, beside the best baseline and control there
  table.csv, warmup.csv  the same numbers with all digits
  figure.png, .svg       nDCG@10 against the number of events an item (a user) has had
  cost.png, .svg         nDCG@10 against trained parameters, seconds, memory, checkpoint size: who is on the front
  slots.png, .svg        Recall@10 of all against that of new items, as places of the list are kept for new items
  k_shot.csv, .png, .svg nDCG@10 against the events revealed of each newcomer, where runs have the stage k_shot

examples:
  coldlm report runs                       every run below runs/
  coldlm report runs/a runs/b --out mine   two runs, into mine/
  coldlm report runs --pack runs.parquet   and all that the report needs in one small file, to be kept or sent
  coldlm report runs.parquet               the same report from that file"""


def main(argv: Sequence[str]) -> int:
    """Run ``coldlm report`` with ``argv`` (without the program's name); 0, or 2 with a message on
    stderr."""
    parser = argparse.ArgumentParser(
        "coldlm report",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS",
                        help="run folders, folders that hold some, or packed files")  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("report"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--pack", type=Path, metavar="FILE", help="write the runs into one parquet file too"
    )
    arguments = parser.parse_args(argv)

    from coldlm.report.write import print_report, write_report

    try:
        report = write_report(arguments.runs, arguments.out, arguments.pack)
    except ColdlmError as error:
        print(error, file=sys.stderr)
        return 2
    print_report(report)
    print(f"\nwritten to {arguments.out}/: {', '.join(path.name for path in report.files)}")
    return 0
