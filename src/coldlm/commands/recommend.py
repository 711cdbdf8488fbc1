"""``coldlm recommend``: a typed text, a user or a history of items -> a ranked list, from a
finished run."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from coldlm.commands.where import Columns, Condition, columns_for, wanted
from coldlm.core.errors import ConfigError

if TYPE_CHECKING:
    from coldlm.experiment.version import Version
    from coldlm.models.parts.head import Head

log = logging.getLogger("coldlm")


class Recommended(NamedTuple):
    """One place of a list. ``probability``: that the item is taken, of a head that was trained to say so, None
    of others."""

    score: float
    item: str
    title: str
    probability: float | None = None


def main(argv: Sequence[str]) -> int:
    """Print a ranked list; 0 when there is one."""
    arguments = parse(argv)
    run, conditions = Path(arguments.run), [Condition.of(text) for text in arguments.where]
    columns = columns_for(run, conditions, arguments.show and arguments.show.split(","))
    rows = recommend(
        run,
        query=arguments.query or "",
        user=arguments.user,
        history=[item.strip() for item in arguments.history.split(",")]
        if arguments.history
        else [],
        k=sys.maxsize if conditions else arguments.k,
        beams=arguments.generate,
    )
    rows = list(islice(wanted(rows, conditions, columns), arguments.k))
    if arguments.json:
        places = [
            {"rank": rank}
            | row._asdict()
            | {name: of.get(row.item, "") for name, of in columns.items()}
            for rank, row in enumerate(rows, 1)
        ]
        print(json.dumps(places, ensure_ascii=False, indent=1))
    elif rows:
        _print(rows, columns)
    elif conditions:
        print(f"nothing to recommend: no item that is left has {' and '.join(arguments.where)}")
    else:
        print("nothing is left to recommend: every item has been had already")
    return 0


def _print(rows: Sequence[Recommended], columns: Columns) -> None:
    from rich.console import Console
    from rich.table import Table

    says = rows[0].probability is not None
    table = Table("rank", "score", *(["probability"] if says else []), "item", "title", *columns)
    for rank, row in enumerate(rows, 1):
        probability = [f"{row.probability:.3f}"] if says else []
        table.add_row(
            str(rank),
            f"{row.score:.3f}",
            *probability,
            row.item,
            row.title,
            *(of.get(row.item, "") for of in columns.values()),
        )
    Console().print(table)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the command line; at least one of query, user and history."""
    parser = argparse.ArgumentParser(
        prog="coldlm recommend",
        description="Rank a run's catalogue for a typed text, a user or a list of items, at the end of "
        "its data.",
        epilog='examples: coldlm recommend runs/default --query "space adventure" --k 10; '
        'coldlm recommend runs/default --user 610 --query "space adventure" --json',
    )
    parser.add_argument("run", help="a run folder with a trained model")
    parser.add_argument("--query", help="a text, as typed into a search box")
    parser.add_argument(
        "--user",
        help="a user id: history and profile are looked up, a --query then takes the profile's place; of "
        "somebody new nothing is known",
    )
    parser.add_argument("--history", help="item ids, newest first, separated by commas")
    parser.add_argument("--k", type=int, default=10, help="length of the list (default 10)")
    parser.add_argument(
        "--generate",
        type=int,
        metavar="BEAMS",
        help="let a causal model write the list itself, kept to the candidates' texts, by beam "
        "search of this width",
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="recommend only items with this: COLUMN OP VALUE over the columns of dataset.items, OP one of = != < <= "
        "> >=, such as 'price<20'; several must all hold",
    )
    parser.add_argument(
        "--show",
        metavar="COLUMN,COLUMN",
        help="columns of dataset.items beside each item (default: price and category, where there are such)",
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    arguments = parser.parse_args(argv)
    arguments.query = (arguments.query or "").strip()
    if not (arguments.query or arguments.user or arguments.history):
        parser.error("nothing to go by: give --query TEXT, --user ID or --history ID,ID")
    if arguments.user and arguments.history:
        parser.error("--user looks up its own history: leave --history out")
    if arguments.k < 1:
        parser.error(f"--k must be at least 1, got {arguments.k}")
    if arguments.generate is not None and arguments.generate < arguments.k:
        parser.error(
            f"--generate needs at least as many beams as items are asked for ({arguments.k})"
        )
    return arguments


def recommend(
    run: Path,
    *,
    query: str = "",
    user: str | None = None,
    history: Sequence[str] = (),
    k: int = 10,
    beams: int | None = None,
) -> list[Recommended]:
    """Return the best ``k`` candidates at the end of the run's data, best first, by its latest version: that
    of ``coldlm update`` or ``coldlm serve`` where there is one, which is told.

    What the user has had is left out where items do not repeat; so are the items of ``history``.
    A ``user`` whom the data do not have is new: nothing is known of them, which is told. A ``query``
    beside a known user takes the place of the profile; the history stays. Equal scores are in
    catalogue order. With ``beams`` a causal model writes the list itself: fewer than ``k`` where it
    finds no more.

    Raises:
        RunFolderError: no trained model there, a damaged one, or one of another version, with other
            keys in its configuration.
        ConfigError: an item that the data does not have, or beams of a head that writes nothing.
    """
    import torch

    from coldlm.experiment.version import Question, best

    log.setLevel(logging.WARNING)
    version, codes, who = _reopen(run, query, beams, history, user)
    now = int(version.world.data.log.time[-1]) + 1
    scores, candidates = version.score(Question(now, query, who, codes), beams)
    is_classifier = version.ranker.head.is_classifier
    probabilities = torch.sigmoid(scores) if is_classifier else None
    items = version.world.data.items
    return [
        Recommended(
            float(scores[i]),
            items.ids[i],
            items.titles[i],
            None if probabilities is None else float(probabilities[i]),
        )
        for i in best(scores, candidates)[:k].tolist()
    ]


def _reopen(
    run: Path, query: str, beams: int | None, history: Sequence[str], user: str | None
) -> tuple[Version, list[int], int | None]:
    """The run's latest version, with what came in since, and the codes of the history and the user."""
    from coldlm.experiment.encoder import with_own_backbone
    from coldlm.experiment.grown import Growing
    from coldlm.experiment.live_files import FOLDER, JOURNAL, read_version
    from coldlm.experiment.model import grown_ranker, make_ranker, on_kept_vectors
    from coldlm.experiment.version import Version
    from coldlm.experiment.world import make_world
    from coldlm.runs.journal import read_journal
    from coldlm.runs.last import weights_of
    from coldlm.runs.manifest import read_manifest, refuse_other_data
    from coldlm.runs.resolved import read_config
    from coldlm.runs.weights import read_weights

    _, weights = weights_of(run)
    config = with_own_backbone(read_config(run), run)
    world = make_world(config)
    refuse_other_data(read_manifest(run), world.data.hashes, run)
    known = Growing(world)
    known.replay(read_journal(run / FOLDER / JOURNAL)[0])
    items, users = known.world.data.items.ids, known.world.data.users.ids
    codes, who = _codes(history, items), _who(user, users)
    ranker = make_ranker(config, world)
    _refuse_head(ranker.head, query, beams)
    read_weights(weights, ranker)
    if len(items) > len(world.data.items):
        ranker = grown_ranker(ranker, world, known.world)
    number = 0
    if saved := read_version(run / FOLDER):
        groups, facts = saved
        ranker.restore(groups["weights"])
        number, after = facts["version"], len(facts["updates"])
        log.warning("version %d, after %d live update(s), see %s", number, after, run / FOLDER)
    return Version.of(number, known.world, on_kept_vectors(ranker, config)), codes, who


def _refuse_head(head: Head, query: str, beams: int | None) -> None:
    """Refuse a head that cannot answer."""
    if query and not head.uses_text:
        raise ConfigError(
            "this run's head reads no text (head.context=only): give --user, or use another run"
        )
    if beams is not None and not head.writes_lists:
        raise ConfigError(
            "this run's head writes no texts (--generate): use a run with head=causal_lm"
        )


def _who(user: str | None, ids: Sequence[str]) -> int | None:
    """The user's place among the ``ids``, None for nobody of them."""
    if user is None:
        return None
    place = {name: code for code, name in enumerate(ids)}
    if user not in place:
        from coldlm.core.spelling import did_you_mean

        hint = did_you_mean(user, place, begin="; ", shown=repr)
        log.warning("user %r is new to this run's data: nothing is known of them%s", user, hint)
    return place.get(user)


def _codes(asked: Sequence[str], ids: Sequence[str]) -> list[int]:
    """Positions of the item ids ``asked``."""
    place = {name: code for code, name in enumerate(ids)}
    unknown = [name for name in asked if name not in place]
    if unknown:
        from coldlm.core.spelling import did_you_mean

        hint = did_you_mean(unknown[0], place, end=" ", shown=repr)
        raise ConfigError(
            f"item {unknown[0]!r} is not in this run's data; {hint}it has {len(ids)} items"
        )
    return [place[name] for name in asked]
