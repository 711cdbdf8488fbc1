"""``coldlm data``: fetch, verify and describe public data sets, and check your own."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from coldlm.commands.data_card import card, checked, option_of
from coldlm.core.errors import ConfigError, DataError
from coldlm.core.files import write_file
from coldlm.data.sources.catalogue import SOURCES
from coldlm.data.sources.fetch import Remote, damaged, fetch, read_record
from coldlm.data.sources.unpack import RECORD

ACCEPTED = "accept_licence=true"
TERMS = ".accepted-terms.json"
"""In the data folder: which terms the user has accepted, so that he is asked once."""


def main(argv: Sequence[str]) -> int:
    """Run ``coldlm data`` with ``argv`` (without the program's name); 0 when all is well."""
    parser = argparse.ArgumentParser(
        "coldlm data",
        description="Check data of your own; fetch, verify and describe public data sets.",
        epilog="examples:\n  coldlm data check items.csv orders.xlsx\n  coldlm data check items.csv "
        "orders.csv dataset.label=rating backbone=minilm\n  coldlm data fetch movielens_1m\n  coldlm data fetch mind "
        "dataset.edition=large\n"
        "  coldlm data verify movielens_1m\n"
        "  coldlm data card caixin\n  coldlm data card amazon2023 dataset.category=All_Beauty",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "task",
        choices=("list", "fetch", "verify", "card", "check"),
        help="list: all names; check: what a run would make of files",
    )
    parser.add_argument(
        "name",
        nargs="?",
        help="as in conf/dataset, such as movielens_1m; of check, a file of yours",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        help=f"{ACCEPTED}, or keys of the data set, such as dataset.edition=large; of check, more files",
    )
    parser.add_argument("--root", type=Path, help="the data folder (default: COLDLM_DATA, or data)")
    arguments = parser.parse_intermixed_args(argv)
    root = arguments.root or Path(os.environ.get("COLDLM_DATA") or "data")
    if arguments.task == "list":
        _print_list()
        return 0
    if arguments.task == "check":
        from coldlm.commands.data_check import check

        print("\n".join(check([*filter(None, [arguments.name]), *arguments.overrides])))
        return 0
    name = _known(arguments.name)
    if arguments.task == "card":
        print("\n".join(card(name, [f"dataset.root='{root}'", *arguments.overrides])))
        return 0
    overrides = [override for override in arguments.overrides if override != ACCEPTED]
    remotes = SOURCES[name].remotes(_edition(name, overrides))
    if arguments.task == "fetch":
        return _fetch(name, root, remotes, accepts=ACCEPTED in arguments.overrides)
    return _verify(name, root, remotes)


def _known(name: str | None) -> str:
    from coldlm.core.spelling import did_you_mean

    if name in SOURCES:
        return str(name)
    hint = did_you_mean(name or "", SOURCES, end=" ")
    raise ConfigError(
        f"{name or 'no name'}: no public data set; {hint}there are: {', '.join(SOURCES)}"
    )


def _edition(name: str, overrides: Sequence[str]) -> str:
    """The value of the key that chooses between the files of a data set, such as MIND's edition."""
    option = SOURCES[name].option
    key = f"dataset.{option}"
    if other := [
        override for override in overrides if not option or override.partition("=")[0] != key
    ]:
        takes = f"{ACCEPTED} and {key}=..." if option else f"{ACCEPTED} and no key of the data set"
        raise ConfigError(f"{other[0]}: fetch and verify of {name} take {takes}")
    return str(checked(name, overrides)["dataset"][option]) if option else ""


def _print_list() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "name", "how to get it", "its reader was run on", "terms", title="Public data sets"
    )
    for name, source in SOURCES.items():
        how = "coldlm data fetch" if source.files else "by hand"
        table.add_row(name, how, source.seen or "made-up files only", source.terms)
    Console().print(table)


def _fetch(name: str, root: Path, remotes: Sequence[Remote], *, accepts: bool) -> int:
    source = SOURCES[name]
    print(f"{name}: {source.terms}")
    if source.ask and not _accepted(name, root, accepts):
        raise ConfigError(
            f"{name}: its terms must be accepted first: coldlm data fetch {name} {ACCEPTED}"
        )
    if not remotes:
        raise DataError(
            f"{name} cannot be fetched, get it by hand: {source.by_hand}. The data folder is {root}"
        )
    folder = root / source.folder
    for remote in remotes:
        print(f"  {'fetched' if _with_bar(remote, folder) else 'there already'}: {remote.url}")
    if source.by_hand:
        print(f"  by hand: {source.by_hand}")
    print(f"in {folder}; use it with COLDLM_DATA={root} coldlm run dataset={option_of(name)}")
    return 0


def _with_bar(remote: Remote, folder: Path) -> bool:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(remote.name, total=None)
        return fetch(
            remote,
            folder,
            lambda done, total: bar.update(task, completed=done, total=total or None),
        )


def _accepted(name: str, root: Path, accepts: bool) -> bool:
    file = root / TERMS
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    if accepts and name not in known:
        root.mkdir(parents=True, exist_ok=True)
        text = json.dumps(sorted([*known, name]))
        write_file(file, lambda part: part.write_text(text, encoding="utf-8"))
    return accepts or name in known


def _verify(name: str, root: Path, remotes: Sequence[Remote]) -> int:
    source, bad = SOURCES[name], 0
    record = read_record(root / source.folder)
    for remote in remotes:
        if remote.name not in record:
            bad += 1
            print(f"  not fetched: {remote.url}")
            continue
        wrong = damaged(root / source.folder, record[remote.name])
        bad += bool(wrong)
        print(
            f"  {remote.name}: "
            f"{f'changed or missing: {chr(32).join(wrong)}' if wrong else 'unchanged'}"
        )
    if not remotes:
        bad += 1  # whoever verifies must not take silence for a yes
        print(
            f"{name} is got by hand: {source.by_hand}. No checksum to compare with: coldlm data "
            f"card {name} shows its"
        )
    elif bad:
        print(f"get it anew: coldlm data fetch {name}")
    else:
        print(f"{name}: all files are as they were fetched ({RECORD})")
    return 1 if bad else 0
