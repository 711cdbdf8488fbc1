"""``coldlm export``: what is asked, as tables for other software."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = """\
Write the split of a configuration as tables that other software can read: interactions, items, users, queries,
positives, and a README that says who is a candidate and what may be learned from what. Nothing is trained or scored.
What other software makes of them is judged by coldlm evaluate."""

EPILOG = """\
examples:
  coldlm export dataset=simulated --out split              the overrides are those of coldlm run
  coldlm export runs/default --out split                   the split of a run
  coldlm export dataset=simulated --out split --candidates --format csv"""


def main(argv: Sequence[str]) -> int:
    """Run ``coldlm export`` with ``argv`` (without the program's name); 0 when the folder is there.

    Raises:
        ColdlmError: see ``read_question`` and ``experiment.export.export``.
    """
    parser = argparse.ArgumentParser(
        "coldlm export",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "question", nargs="*", metavar="FOLDER | KEY=VALUE", help="a run folder, or overrides"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="must not be there")
    parser.add_argument(
        "--format", choices=("parquet", "csv"), default="parquet", help="default: %(default)s"
    )
    parser.add_argument(
        "--candidates",
        action="store_true",
        help="write the candidates of each query too: large; lists that were shown are always written",
    )
    arguments = parser.parse_intermixed_args(argv)
    from coldlm.commands.asked import read_question

    config, _ = read_question(arguments.question)
    from coldlm.experiment.export import export

    manifest = export(config, arguments.out, form=arguments.format, candidates=arguments.candidates)
    print(f"{manifest.data.name}, question {manifest.question}: written to {arguments.out}/")
    print(f"next: coldlm evaluate --split {arguments.out} --scores FILE --name NAME")
    return 0
