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
run repeats, appear once. Runs that failed or diverged are rows without a value, with their reason."""

EPILOG = """\
files written:
  report.html            everything on one page: verdicts, tables that sort and filter, figures, where each row
                         comes from; it needs no other file and no network
  report.md              the same as Markdown
  table.md, table.tex    the headline table: quality with intervals, distance to the best trivial row, cost
  cohorts.csv            every strategy in every cohort of every data set, beside the best baseline and control there
  table.csv, warmup.csv  the same numbers with all digits
  figure.png, .svg       the headline against the number of events an item (a user) has had
  cost.png, .svg         the headline against trained parameters, seconds, memory, checkpoint size: who is on the front
  slots.png, .svg        Recall@10 of all against that of new items, as places of the list are kept for new items
  k_shot.csv, .png, .svg nDCG@10 against the events revealed of each newcomer, where runs have the stage k_shot

examples:
  coldlm report runs                       every run below runs/
  coldlm report runs/a runs/b --out mine   two runs, into mine/
  coldlm report runs --pack runs.parquet   and all that the report needs in one small file, to be kept or sent
  coldlm report runs.parquet               the same report from that file
  coldlm report runs --metric recall@10 --against frozen --sort against
  coldlm report runs --only strategy=lora,frozen --only dataset=movielens --columns seeds,ndcg@10,interval,cold_item:mrr
  coldlm report --check runs               recompute what the run folders say

The terminal shows the best rows and the columns that fit; the files hold all of them. Columns by name: seeds, ndcg@10
and every other metric, interval, sd, micro, vs_trivial, p, against, every cohort (cold_item), COHORT:METRIC
(cold_item:mrr), and costs (train_seconds); a wrong name is answered with all that there are.

--check recomputes results.parquet of each run folder and writes nothing. From per_user.parquet follow, over the whole
stream, both averages (macro and micro) of every metric in every cohort, with n_users, n_queries and n_events; from
events.parquet, where it is there, windows and warm-up buckets as well, all of them but metrics of plugins.
k_shot.parquet and the manifest are not checked. Exit status 1 if a cell differs or a file cannot be read, else 0."""


def main(argv: Sequence[str]) -> int:
    """Run ``coldlm report`` with ``argv`` (without the program's name); 0, 2 with a message on
    stderr, or 1 if ``--check`` finds a difference."""
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
    parser.add_argument(
        "--metric", default="", metavar="NAME",
        help="the headline of table, figure and page instead of ndcg@10, such as --metric recall@10 or --metric mrr",
    )  # fmt: skip
    parser.add_argument(
        "--only", type=_axis, action="append", default=[], metavar="AXIS=VALUE[,VALUE]",
        help="runs with one of these values alone, such as --only strategy=lora,frozen; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--against", default="", metavar="STRATEGY",
        help="every row minus this one, on the same users and seeds, with its interval, such as --against frozen",
    )  # fmt: skip
    parser.add_argument(
        "--columns", type=_names, default=(), metavar="A,B",
        help="what the headline table has, see below, such as --columns seeds,ndcg@10,cold_item_any,mrr",
    )  # fmt: skip
    parser.add_argument(
        "--sort", default="", metavar="COLUMN[:asc]",
        help="order of the headline table, the largest first, such as --sort cold_item_any or --sort train_seconds:asc",
    )  # fmt: skip
    parser.add_argument(
        "--quiet", action="store_true", help="write files, and print one line that says where"
    )
    parser.add_argument(
        "--check", action="store_true", help="recompute results.parquet instead, see below"
    )
    arguments = parser.parse_args(argv)
    try:
        return _check(arguments.runs) if arguments.check else _report(arguments)
    except ColdlmError as error:
        print(error, file=sys.stderr)
        return 2


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _axis(text: str) -> tuple[str, tuple[str, ...]]:
    axis, _, values = text.partition("=")
    if not (axis.strip() and _names(values)):
        raise argparse.ArgumentTypeError(f"{text}: give AXIS=VALUE, such as strategy=lora,frozen")
    return axis.strip(), _names(values)


def _report(arguments: argparse.Namespace) -> int:
    from coldlm.report.asked import Asked
    from coldlm.report.measured import make_report
    from coldlm.report.write import print_report, write_files

    asked = Asked(
        arguments.metric,
        tuple(arguments.only),
        arguments.against,
        arguments.columns,
        arguments.sort,
    )
    report = write_files(make_report(arguments.runs, asked), arguments.out, arguments.pack)
    if not arguments.quiet:
        print_report(report)
        print()
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    others = len(report.files) - 1
    print(
        f"written to {arguments.out}/: report.html, which has everything, and {others} files more"
    )
    return 0


def _check(folders: Sequence[Path]) -> int:
    from coldlm.evaluate.summary import summarise
    from coldlm.report.check import check_runs, check_table, first_differences
    from coldlm.report.write import print_table

    found = check_runs(folders, summarise)
    print_table(check_table(found))
    if differences := first_differences(found):
        print_table(differences)
    for each in found:
        if each.why:
            print(f"{each.folder}: {each.why}")
    return 0 if all(each.is_right for each in found) else 1
