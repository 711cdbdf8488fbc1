"""``coldlm evaluate``: scores or lists that other software wrote, judged and kept as a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from coldlm.core.errors import ConfigError

DESCRIPTION = """\
Judge scores or lists that other software wrote for the queries of a split, by the code that judges everything else,
and keep them as a run folder: coldlm report shows it as a row beside coldlm's own runs over the same split."""

EPILOG = """\
files: parquet, csv, tsv, jsonl or arrow; ids as coldlm export writes them
  --scores   columns query, item, score: larger is better; equal scores are ties, and count as their expectation
  --lists    columns query, item, rank: 1 is best; what a list leaves out ties behind all that it holds

examples:
  coldlm evaluate --split split --scores mine.parquet --name mine
  coldlm evaluate --split split --lists lists.csv --name theirs --seed 2
  coldlm evaluate dataset=simulated --scores mine.parquet --name mine --baselines
  coldlm report runs                                       a row more: mine"""


def main(argv: Sequence[str]) -> int:
    """Run ``coldlm evaluate`` with ``argv`` (without the program's name); 0 when the run is there.

    Raises:
        ColdlmError: see ``read_question`` and ``experiment.outside.evaluate_file``.
    """
    arguments = parse(argv)
    from coldlm.commands.asked import read_question
    from coldlm.commands.outcomes import Outcome, conclude

    config, manifest = read_question(
        [arguments.split] if arguments.split else arguments.question,
        needs_backbone=arguments.baselines,
    )
    if manifest is not None and manifest.question is None:
        raise ConfigError(
            f"{arguments.split or arguments.question[0]}: nothing was asked there yet"
        )
    from coldlm.experiment.outside import Outside, evaluate_file

    outside = Outside(
        arguments.scores or arguments.lists,
        "scores" if arguments.scores else "lists",
        arguments.name,
        arguments.seed,
        arguments.missing,
    )
    folder = arguments.out or Path(config.output) / f"{arguments.name},seed={arguments.seed}"
    evaluate_file(config, outside, folder, baselines=arguments.baselines, split=manifest)
    return conclude([Outcome(folder)])


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the command line: one file, and one way to say which split it answers.

    Raises:
        ConfigError: a split and overrides, or a name that is none of a folder.
    """
    parser = argparse.ArgumentParser(
        "coldlm evaluate",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "question", nargs="*", metavar="FOLDER | KEY=VALUE", help="a run folder, or overrides"
    )
    parser.add_argument(
        "--split", metavar="DIR", help="a folder that coldlm export wrote, or a run folder"
    )
    files = parser.add_mutually_exclusive_group(required=True)
    files.add_argument("--scores", type=Path, metavar="FILE", help="query, item, score")
    files.add_argument("--lists", type=Path, metavar="FILE", help="query, item, rank")
    parser.add_argument("--name", required=True, help="of the scorer, in every table")
    parser.add_argument(
        "--seed", type=int, default=1, help="which repetition of it this is (default 1)"
    )
    parser.add_argument(
        "--missing",
        choices=("refuse", "last"),
        default="refuse",
        help="candidates without a score: refuse the file (default), or tie them below all others",
    )
    parser.add_argument(
        "--baselines", action="store_true", help="judge coldlm's baselines over the split too"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the run folder (default: OUTPUT/NAME,seed=SEED)"
    )
    arguments = parser.parse_intermixed_args(argv)
    if arguments.split and arguments.question:
        raise ConfigError(
            f"--split {arguments.split} says which question it is: leave out "
            f"{' '.join(arguments.question)}"
        )
    if not arguments.name.strip() or "/" in arguments.name or " · " in arguments.name:
        raise ConfigError(f"--name {arguments.name!r}: a word or two, without / and ·")
    if arguments.seed < 0:
        raise ConfigError(f"--seed {arguments.seed}: a whole number from 0 on")
    return arguments
