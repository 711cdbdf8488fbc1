"""``coldlm update``: a finished run learns what has happened since, and recommends by it."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coldlm.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from coldlm.experiment.live import Live
    from coldlm.experiment.live_engine import Learned

log = logging.getLogger("coldlm")


def main(argv: Sequence[str]) -> int:
    """Make the next version of a run and tell what it learned; 1 if it was rolled back."""
    arguments = parse(argv)
    from coldlm.experiment.live import Live

    log.setLevel(logging.WARNING)
    live = Live(Path(arguments.run))
    try:
        _take(live, arguments.items and Path(arguments.items), Path(arguments.events))
        learned = live.update()
    finally:
        live.close()
    if learned is None:
        print("no event is visible that is not learned yet (online.label_delay_seconds)")
        return 0
    _tell(live, learned)
    return int(learned.update.rolled_back)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="coldlm update",
        description="Make the next version of a finished run from what happened since, by the run's own "
        "schedule (online=...): what it learns from, what holds it, what may move, whether it goes live. "
        "It is kept in RUN/live; the run's files stay as they are, and its data files must too: what is "
        "new comes in files of its own.",
        epilog="example: coldlm update runs/shop --events today.csv --items arrivals.csv",
    )
    parser.add_argument("run", help="a run folder with a trained model")
    parser.add_argument(
        "--events",
        required=True,
        help="csv or parquet: user_id, item_id, timestamp, and if there are such columns a "
        "label and the query that was typed; later than all that is known",
    )
    parser.add_argument("--items", help="csv or parquet of new items: item_id and text columns")
    return parser.parse_args(argv)


def _take(live: Live, items: Path | None, events: Path) -> None:
    """Read the files, and take what is new in them."""
    from coldlm.core.dates import iso
    from coldlm.core.tables import UNKNOWN
    from coldlm.data.files.more import read_more_events, read_more_items
    from coldlm.data.files.own import Keys
    from coldlm.experiment.live_files import EventLine, ItemLine

    own = live.config.dataset
    keys = Keys.of({**vars(Keys()), **{key: own[key] for key in own if key in vars(Keys())}})
    read = read_more_events(events, keys)
    known = live.known_until
    columns = zip(
        read.user, read.item, read.time.tolist(), read.label.tolist(), read.positive.tolist(),
        read.text, strict=True,
    )  # fmt: skip
    lines = [EventLine(*row) for row in columns]
    later = [line for line in lines if line.time > known]
    if refused := len(lines) - len(later):
        print(
            f"{events}: {refused:,} of {len(lines):,} events are refused: they are not later than "
            f"{iso(known)}, up to which everything is known"
        )
    if not later:
        raise DataError(f"{events}: no event is later than {iso(known)}: there is nothing to learn")
    new = []
    if items is not None:
        table = read_more_items(items, keys)
        rows = zip(table.ids, table.titles, table.texts, table.released_at.tolist(), strict=True)
        new = [ItemLine(*row[:3], known + 1 if row[3] == UNKNOWN else row[3]) for row in rows]
        if again := live.known_items([item.id for item in new]):
            print(
                f"{items}: {len(again):,} items are known already, such as {again[0]!r}: left out"
            )
            new = [item for item in new if item.id not in again]
    there = {item.id for item in new}
    missing = [e.item for e in later if e.item not in there and not live.known_items([e.item])]
    if missing:
        raise ConfigError(
            f"{events}: item {missing[0]!r} is neither in the run nor in --items; nothing was taken"
        )
    live.add_items(new)
    live.add_events(later)


def _tell(live: Live, learned: Learned) -> None:
    from rich.console import Console
    from rich.table import Table

    update, moves = learned.update, learned.moves
    went = (
        f"rolled back: {update.why}" if update.rolled_back else f"version {update.version} is live"
    )
    print(
        f"{went}; {update.n_events:,} examples in {update.seconds:.1f} s ({update.reason}), kept in "
        f"{live.folder}\n"
        f"nDCG on the probe {update.probe_before:.4f} -> {update.probe_after:.4f}, loss "
        f"{update.loss_before:.3f} -> {update.loss_after:.3f}"
    )
    if not (moves.up or moves.down):
        return
    table = Table(
        "", "rank before", "rank now", "item", "title", title="the list of the latest user"
    )
    for arrow, rows in (("up", moves.up), ("down", moves.down)):
        for item, title, before, after in rows:
            table.add_row(arrow, str(before), str(after), item, title)
    Console().print(table)
