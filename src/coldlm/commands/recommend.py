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
from typing import TYPE_CHECKING, NamedTuple, cast

from coldlm.commands.where import Columns, Condition, columns_for, wanted
from coldlm.core.errors import ConfigError, RunFolderError

if TYPE_CHECKING:
    from torch import Tensor

    from coldlm.core.tables import Bools
    from coldlm.experiment.world import World
    from coldlm.models.parts.head import Head
    from coldlm.models.rankers.pairwise import PairSnapshot
    from coldlm.models.rankers.ranker import Scorer

log = logging.getLogger("coldlm")

LAST_MODEL = ("online", "model")
"""Names of saved weights in a run folder, latest first."""


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
            {"rank": rank} | row._asdict() | {name: of[row.item] for name, of in columns.items()}
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
            *(of[row.item] for of in columns.values()),
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
    """Return the best ``k`` candidates at the end of the run's data, best first.

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
    weights = _last_weights(run)
    import torch

    from coldlm.experiment.encoder import with_own_backbone
    from coldlm.experiment.model import make_ranker, on_kept_vectors, take_snapshot
    from coldlm.experiment.world import make_world
    from coldlm.runs.manifest import read_manifest, refuse_other_data
    from coldlm.runs.resolved import read_config
    from coldlm.runs.weights import read_weights

    log.setLevel(logging.WARNING)
    config = with_own_backbone(read_config(run), run)
    world = make_world(config)
    refuse_other_data(read_manifest(run), world.data.hashes, run)
    items = world.data.items
    codes, who = _codes(history, items.ids), _who(user, world.data.users.ids)
    ranker = make_ranker(config, world)
    _refuse_head(ranker.head, query, beams)
    read_weights(weights, ranker)
    ranker = on_kept_vectors(ranker, config)
    scores, candidates = _score(
        world, take_snapshot(ranker, world), ranker.head.history, query, who, codes, beams
    )
    probabilities = torch.sigmoid(scores) if ranker.head.is_classifier else None
    scores = scores.masked_fill(~torch.from_numpy(candidates), -torch.inf)
    best = torch.argsort(scores, descending=True, stable=True)[
        : min(k, int(candidates.sum()))
    ].tolist()
    return [
        Recommended(
            float(scores[i]),
            items.ids[i],
            items.titles[i],
            None if probabilities is None else float(probabilities[i]),
        )
        for i in best
    ]


def _last_weights(run: Path) -> Path:
    """The file of the weights that the run ended with."""
    for name in LAST_MODEL:
        if (file := run / f"{name}.safetensors").is_file():
            return file
    raise RunFolderError(
        f"{run} holds no trained model (model.safetensors); "
        f"train one: coldlm run output={run.parent} name={run.name}"
    )


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


def _score(
    world: World,
    scorer: Scorer,
    length: int,
    query: str,
    who: int | None,
    codes: list[int],
    beams: int | None,
) -> tuple[Tensor, Bools]:
    """[N] scores at the end of the data, and [N] which items may be recommended; with ``beams``, of
    what was written.

    Args:
        length: items of a history that the head reads.
        who: code of the user, None for nobody of the data.
        codes: history, newest first.
    """
    import numpy as np

    now = int(world.data.log.time[-1]) + 1
    users, times = np.array([] if who is None else [who], np.int64), np.array([now])
    if who is None:
        candidates = world.catalogue.released(times)[0]
        if not world.data.repeats:
            candidates[codes] = False
    else:
        candidates = world.catalogue.mask(users, times)[0]
        if not query and beams is None:
            return scorer(users, times)[0], candidates
        past = world.as_of.history(users, times, length)[0]
        query, codes = query or world.data.users.texts[who], past[past >= 0].tolist()
    if beams is None:
        return scorer.answer(now, text=query, history=codes), candidates
    scores = cast("PairSnapshot", scorer).generate(now, query, codes, candidates, beams)
    return scores, candidates & np.isfinite(scores.numpy())


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
