"""``coldlm data``: fetch, verify and describe the public data sets."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coldlm.core.dates import iso
from coldlm.core.errors import ConfigError, DataError
from coldlm.core.files import write_file
from coldlm.data.sources.catalogue import SOURCES, Source
from coldlm.data.sources.fetch import Remote, damaged, fetch, read_record
from coldlm.data.sources.unpack import RECORD

if TYPE_CHECKING:
    from coldlm.core.tables import Dataset

ACCEPTED = "accept_licence=true"
TERMS = ".accepted-terms.json"
"""In the data folder: which terms the user has accepted, so that he is asked once."""

SCRIPTS = {
    "CJK": "Chinese, Japanese",
    "HIRAGANA": "Chinese, Japanese",
    "KATAKANA": "Chinese, Japanese",
}
SAMPLE = 2_000
"""Texts whose letters are looked at for the languages of a data card."""


def main(argv: Sequence[str]) -> int:
    """Run ``coldlm data`` with ``argv`` (without the program's name); 0 when all is well."""
    parser = argparse.ArgumentParser(
        "coldlm data",
        description="Fetch, verify and describe public data sets.",
        epilog="examples:\n  coldlm data fetch movielens_1m\n  coldlm data fetch mind "
        "dataset.edition=large\n"
        "  coldlm data verify movielens_1m\n"
        "  coldlm data card caixin\n  coldlm data card amazon2023 dataset.category=All_Beauty",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", choices=("list", "fetch", "verify", "card"), help="list: all names")
    parser.add_argument("name", nargs="?", help="as in conf/dataset, such as movielens_1m")
    parser.add_argument(
        "overrides",
        nargs="*",
        help=f"{ACCEPTED}, or keys of the data set, such as dataset.edition=large",
    )
    parser.add_argument("--root", type=Path, help="the data folder (default: COLDLM_DATA, or data)")
    arguments = parser.parse_intermixed_args(argv)
    root = arguments.root or Path(os.environ.get("COLDLM_DATA") or "data")
    if arguments.task == "list":
        _print_list()
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
    return str(_checked(name, overrides)["dataset"][option]) if option else ""


def _checked(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration of a data set.

    Raises:
        ConfigError: a key or value that does not exist.
    """
    from coldlm.config.build import refuse
    from coldlm.config.check import problems
    from coldlm.config.compose import compose_plain

    config = compose_plain([f"dataset={_option(name)}", "backbone=random_vectors", *overrides])
    refuse(problems(config))
    return config


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
    print(f"in {folder}; use it with COLDLM_DATA={root} coldlm run dataset={_option(name)}")
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


def _option(name: str) -> str:
    """``video/movielens_1m`` for ``movielens_1m``."""
    from coldlm.config.tree import list_options

    return next(option for option in list_options()["dataset"] if option.rpartition("/")[2] == name)


def card(name: str, overrides: Sequence[str]) -> list[str]:
    """Return the data card, one line per fact.

    Raises:
        ConfigError, DataError: a key that does not exist, or no usable files.
    """
    from coldlm.config.check import check
    from coldlm.experiment.world import make_world

    config = check(_checked(name, overrides))
    world = make_world(config)
    module = importlib.import_module(str(config.dataset["_target_"]).rpartition(".")[0])
    return [
        *_about_source(name, SOURCES[name], getattr(module, "BANNED", {})),
        *_about_data(world.data),
        *_about_stream(world),
    ]


def _about_source(name: str, source: Source, banned: dict[str, str]) -> list[str]:
    seen = (
        f"its reader was run on real files: {source.seen}"
        if source.seen
        else "FORMAT UNVERIFIED: made-up files only"
    )
    where = "; ".join(
        [*(remote.url for remote in source.files), *([source.by_hand] if source.by_hand else [])]
    )
    lines = [f"# {name}", f"from: {where}", f"terms: {source.terms}", f"format: {seen}"]
    if banned:
        lines.append(
            f"banned fields: {'; '.join(f'{field} ({why})' for field, why in banned.items())}"
        )
    return lines


def _about_data(data: Dataset) -> list[str]:
    import numpy as np

    log = data.log
    first, last = (iso(t) for t in (log.time[0], log.time[-1]))
    characters = np.array([len(text) for text in data.items.texts])
    return [
        f"domain: {data.domain}; items {'repeat' if data.repeats else 'do not repeat'}; release: "
        f"{data.release}",
        f"{len(data.users):,} users, {len(data.items):,} items, {len(log):,} events, "
        f"{int(log.positive.sum()):,} of them positive",
        *_about_lists(data),
        *_about_queries(data),
        f"times: {first} to {last} UTC, {len(np.unique(log.time)):,} distinct",
        "events before the log, whose times are made up: "
        f"{int((log.time < data.log_starts_at).sum()):,}",
        f"item texts: {characters.mean():.1f} characters on average, "
        f"{int((characters == 0).sum()):,} empty; letters: {_letters(data.items.texts)}",
        f"policies: {', '.join(f'{name} {n:,}' for name, n in data.counts.items() if n) or 'none applied'}",
        *(f"sha256 {digest}  {file}" for file, digest in data.hashes.items()),
    ]


def _about_lists(data: Dataset) -> list[str]:
    lists = data.impressions
    if lists is None:
        return []
    return [
        f"lists as shown: {len(lists):,} with {len(lists.item):,} items, "
        f"{int(lists.clicked.sum()):,} clicked"
    ]


def _about_queries(data: Dataset) -> list[str]:
    if data.log.query is None:
        return []
    return [
        f"typed before {int((data.log.query >= 0).sum()):,} events: {len(data.users.queries):,} different "
        f"texts; letters: {_letters(data.users.queries)}"
    ]


def _letters(texts: Sequence[str]) -> str:
    """Shares of the scripts among the letters of some texts, evenly drawn."""
    step = max(1, len(texts) // SAMPLE)
    seen = Counter(
        SCRIPTS.get(word, word.capitalize())
        for text in texts[::step]
        for letter in text
        if letter.isalpha() and (word := unicodedata.name(letter, "OTHER").split()[0])
    )
    total = max(1, sum(seen.values()))
    return ", ".join(f"{script} {n / total:.0%}" for script, n in seen.most_common(3)) or "none"


def _about_stream(world: Any) -> list[str]:
    import numpy as np

    from coldlm.split.queries import count_queries, others_would_drop

    stream, log = world.stream, world.data.log
    user = np.repeat(world.cold_users[stream.user], np.diff(stream.start))
    item = world.cold_items[log.item[stream.event]]
    n_user = world.as_of.n_user(stream.user, stream.time)
    others = others_would_drop(stream, log, world.cold_users, world.cold_items, n_user)
    n = max(1, len(stream.event))
    cohorts = {
        "warm_warm": ~user & ~item,
        "cold_user": user & ~item,
        "cold_item": ~user & item,
        "cold_both": user & item,
    }
    typed = count_queries(world.data, world.seen_query, stream)
    said = ", ".join(f"{name} {number:,}" for name, number in typed.items())
    return [
        *([f"typed texts: {said}"] if typed else []),
        f"split: {world.split} of {len(stream):,} queries, {n:,} positives",
        f"cohorts: {', '.join(f'{name} {rows.sum() / n:.1%}' for name, rows in cohorts.items())}",
        f"not asked: {', '.join(f'{why} {k:,}' for why, k in stream.counts.items() if k) or 'none'}",
        f"other evaluators' defaults would drop {others['any']:,} of {others['of']:,} "
        f"({others['any'] / n:.0%})",
    ]
