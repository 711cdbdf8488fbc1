"""``coldlm recommend``: a typed text, a user or a history of items -> a ranked list, from a finished run."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from coldlm.errors import ConfigError, RunFolderError

LAST_MODEL = ("online", "model")
"""Names of saved weights in a run folder, latest first."""


def main(argv: Sequence[str]) -> int:
    """Print a ranked list; 0 when there is one."""
    arguments = parse(argv)
    from rich.console import Console
    from rich.table import Table

    rows = recommend(
        Path(arguments.run),
        query=arguments.query or "",
        user=arguments.user,
        history=[item.strip() for item in arguments.history.split(",")] if arguments.history else [],
        k=arguments.k,
    )
    if not rows:
        print("nothing is left to recommend: every item has been had already")
        return 0
    table = Table("rank", "score", "item", "title")
    for rank, (score, item, title) in enumerate(rows, 1):
        table.add_row(str(rank), f"{score:.3f}", item, title)
    Console().print(table)
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; at least one of query, user and history."""
    parser = argparse.ArgumentParser(
        prog="coldlm recommend",
        description="Rank a run's catalogue for a typed text, a known user or a list of items, at the end of its data.",
        epilog='example: coldlm recommend runs/default --query "space adventure" --k 10',
    )
    parser.add_argument("run", help="a run folder with a trained model")
    parser.add_argument("--query", help="a text, as typed into a search box")
    parser.add_argument("--user", help="a user id of the data: history and profile are looked up")
    parser.add_argument("--history", help="item ids, newest first, separated by commas")
    parser.add_argument("--k", type=int, default=10, help="length of the list (default 10)")
    arguments = parser.parse_args(argv)
    arguments.query = (arguments.query or "").strip()
    if not (arguments.query or arguments.user or arguments.history):
        parser.error("nothing to go by: give --query TEXT, --user ID or --history ID,ID")
    if arguments.user and (arguments.query or arguments.history):
        parser.error("--user looks up its own history and profile: give it alone")
    if arguments.k < 1:
        parser.error(f"--k must be at least 1, got {arguments.k}")
    return arguments


def recommend(
    run: Path, *, query: str = "", user: str | None = None, history: Sequence[str] = (), k: int = 10
) -> list[tuple[float, str, str]]:
    """The best ``k`` candidates at the end of the run's data: (score, item id, title), best first.

    What the user has had is left out where items do not repeat; so are the items of ``history``. Equal scores are in
    catalogue order.

    Raises:
        RunFolderError: no trained model there.
        ConfigError: an id that the data does not have.
    """
    weights = next(
        (run / f"{name}.safetensors" for name in LAST_MODEL if (run / f"{name}.safetensors").is_file()), None
    )
    if weights is None:
        raise RunFolderError(
            f"{run} holds no trained model (model.safetensors); "
            f"train one: coldlm run output={run.parent} name={run.name}"
        )
    import numpy as np
    import torch
    from safetensors.torch import load_file

    from coldlm.manifest import refuse_other_data
    from coldlm.model import make_ranker, take_snapshot
    from coldlm.record import read_config
    from coldlm.world import make_world

    logging.getLogger("coldlm").setLevel(logging.ERROR)
    config = read_config(run)
    world = make_world(config)
    refuse_other_data(json.loads((run / "manifest.json").read_text(encoding="utf-8")), world.data.hashes, run)
    items, users = world.data.items, world.data.users
    codes = _codes(history, items.ids, "item")
    who = _codes([user] if user else [], users.ids, "user")
    ranker = make_ranker(config, world)
    if query and not ranker.head.uses_text:
        raise ConfigError("this run's head reads no text (head.context=only): give --user, or use another run")
    ranker.restore(load_file(weights))
    scorer = take_snapshot(ranker, world)
    now = int(world.data.log.time[-1]) + 1
    if who:
        at = np.array(who), np.array([now])
        scores, candidates = scorer(*at)[0], world.catalogue.mask(*at)[0]
    else:
        scores = scorer.answer(now, text=query, history=codes)
        candidates = world.catalogue.released(np.array([now]))[0]
    if not world.data.repeats:
        candidates[codes] = False
    scores = scores.masked_fill(~torch.from_numpy(candidates), -torch.inf)
    best = torch.argsort(scores, descending=True, stable=True)[: min(k, int(candidates.sum()))].tolist()
    return [(float(scores[i]), items.ids[i], items.titles[i]) for i in best]


def _codes(asked: Sequence[str], ids: Sequence[str], kind: str) -> list[int]:
    """Positions of the ids ``asked``."""
    place = {name: code for code, name in enumerate(ids)}
    unknown = [name for name in asked if name not in place]
    if unknown:
        from coldlm.signatures import nearest

        near = nearest(unknown[0], place)
        hint = f"did you mean {near!r}? " if near else ""
        raise ConfigError(f"{kind} {unknown[0]!r} is not in this run's data; {hint}it has {len(ids)} {kind}s")
    return [place[name] for name in asked]
