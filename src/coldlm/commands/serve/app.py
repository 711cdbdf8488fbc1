"""The HTTP interface of a run that goes on."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from coldlm import __version__
from coldlm.commands.serve.bodies import Added, Feedback, Listed, NewItem, Place, Recommend, Taken
from coldlm.commands.serve.guard import App, Guard
from coldlm.commands.serve.learner import Learner
from coldlm.commands.serve.measured import Measured
from coldlm.core.dates import iso
from coldlm.core.errors import ConfigError, DataError
from coldlm.experiment.live import Live
from coldlm.experiment.live_engine import Learned
from coldlm.experiment.live_files import EventLine, ItemLine
from coldlm.experiment.version import Question, unknown_share

REMEMBERED = 10_000
"""Requests whose text, user and list are remembered for their feedback."""

TOLD = ("rank", "n", "score", "text", "context")
"""Of a place, besides the item."""

STATIC = {"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"}


class _Asked(NamedTuple):
    text: str
    user: str
    shown: tuple[str, ...]


class Service:
    """What the endpoints do. One list is scored at a time, beside the thread that learns: more at once would
    only wait for each other."""

    def __init__(self, live: Live, window: int) -> None:
        self.live, self.window, self.measured = live, window, Measured()
        self.learner = Learner(live, window, self._tell)
        self._scoring, self._requests = threading.Lock(), OrderedDict[str, _Asked]()
        self._shelf: int = live.config.evaluate.shelf

    def recommend(self, body: Recommend) -> Listed:
        """Return a list."""
        live = self.live
        if body.user and body.history:
            raise HTTPException(422, "user looks up its own history: leave history out")
        if body.slots > body.k:
            raise HTTPException(422, f"slots={body.slots} do not fit into k={body.k}")
        if body.text and not self.live.uses_text:
            raise HTTPException(422, "this run's head reads no text: give user or history")
        history, also = (list(map(live.item, names)) for names in (body.history, body.also))
        with self._scoring:
            version, now, user = live.ask(body.user)
            asked = Question(now, body.text, user, history)
            lists = version.recommend(asked, body.k, body.slots, self._shelf, also)
            unknown = unknown_share(version.ranker, body.text)
        items, request = version.world.data.items, f"r{secrets.token_hex(8)}"
        places, others = (
            [
                Place(
                    item=items.ids[place.code],
                    title=items.titles[place.code],
                    **{name: getattr(place, name) for name in TOLD},
                )
                for place in rows
            ]
            for rows in lists
        )
        shown = tuple(place.item for place in places)
        self._requests[request] = _Asked(body.text, body.user or f"guest {request}", shown)
        while len(self._requests) > REMEMBERED:
            self._requests.popitem(last=False)
        return Listed(
            request=request, version=version.number, time=now, unknown=unknown,
            places=places, also=others,
        )  # fmt: skip

    def take(self, body: Feedback) -> Taken:
        """Take what was taken; acknowledged when it is on the disk."""
        asked = self._requests.get(body.request, _Asked("", f"guest {body.request}", ()))
        if not (body.request or body.user):
            raise HTTPException(422, "give the request that was answered, or the user")
        user = body.user or asked.user
        text = asked.text if body.text is None else body.text
        shown = asked.shown if body.shown is None else tuple(body.shown)
        lines = [
            EventLine(user, item, text=text, request=body.request, shown=shown)
            for item in dict.fromkeys(body.items)
        ]
        try:
            accepted = self.live.add_events(lines)
        except OSError as error:
            raise HTTPException(
                503, f"not taken, the disk refuses: {error.strerror}", {"Retry-After": "10"}
            ) from error
        self.measured.events.inc(accepted)
        self.learner.look()
        version, now, _ = self.live.ask(None)
        codes = [self.live.item(line.item) for line in lines]
        n = version.world.as_of.n_item(np.array(codes), np.array(now)).tolist()
        return Taken(accepted=accepted, n=dict(zip([line.item for line in lines], n, strict=True)))

    def add(self, body: NewItem) -> Added:
        """Add a new item."""
        text = body.text or body.title
        self.live.add_items([ItemLine(body.id, body.title, text)])
        self.measured.items.inc()
        return Added(item=body.id, unknown=unknown_share(self.live.version.ranker, text))

    def status(self) -> dict[str, Any]:
        """Return what there is to say."""
        live = self.live
        version, now, _ = live.ask(None)
        world = version.world
        return {
            "run": live.run.name,
            "data": world.data.name,
            "coldlm": __version__,
            "version": version.number,
            "updates": len(live.learned),
            "last_update": _finite(live.learned[-1]) if live.learned else None,
            "learning": self.learner.is_busy,
            "waiting": live.waiting,
            "window": self.window,
            "trigger": live.trigger,
            "failure": self.learner.failure,
            "items": len(world.data.items),
            "users": len(world.data.users),
            "events": len(world.data.log),
            "received": live.received,
            "torn_bytes": live.torn,
            "time": iso(now),
            "reads_text": live.uses_text,
            "shelf": self._shelf,
        }

    def _tell(self, learned: Learned) -> None:
        self.measured.update(learned.update)


def make_app(
    live: Live, *, token: str = "", hosts: Sequence[str] | None = None, window: int = 10
) -> App:
    """Return the application, behind its guard; it stops its thread when it ends, and leaves ``live`` open.

    Args:
        token, hosts: see ``Guard``. window: see ``Learner``.
    """
    service = Service(live, window)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.learner.start()
        service.learner.look()
        yield
        service.learner.stop()

    app = FastAPI(
        title="coldlm serve", version=__version__, lifespan=lifespan,
        docs_url=None, redoc_url=None,  # their scripts lie elsewhere
        description="Cold-start recommendation by a run that goes on learning. Every list is one "
        "version's, and says which; feedback is on the disk when it is acknowledged.",
    )  # fmt: skip

    @app.exception_handler(DataError)
    @app.exception_handler(ConfigError)
    def _refused(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.post("/recommend")
    def recommend(body: Recommend) -> Listed:
        """Return the best items for a text, a user or a history, by one version, which it names."""
        return service.recommend(body)

    @app.post("/feedback")
    def feedback(body: Feedback) -> Taken:
        """Take what was taken from a list: on the disk before it is acknowledged, counted at once, and
        learned by the next version."""
        return service.take(body)

    @app.post("/items", status_code=201)
    def items(body: NewItem) -> Added:
        """Add a new item: its text makes it rankable at once."""
        return service.add(body)

    @app.post("/update", status_code=202)
    def update() -> dict[str, int]:
        """Ask for the next version now; it is made beside the one that answers."""
        if not live.waiting:
            raise HTTPException(422, "nothing has come in since the last update")
        if not service.learner.ask():
            raise HTTPException(429, "an update is on its way", {"Retry-After": "1"})
        return {"version": live.number, "waiting": live.waiting}

    @app.get("/status")
    def status() -> dict[str, Any]:
        """Return the version, the last update and what it moved, and what waits to be learned."""
        return service.status()

    @app.get("/metrics")
    def metrics() -> Response:
        """Return numbers for Prometheus."""
        content, kind = service.measured.page(live)
        return Response(content, media_type=kind)

    folder = files("coldlm.commands.serve")
    for path, kind in STATIC.items():
        text = folder.joinpath(path[1:] or "page.html").read_text("utf-8")
        app.add_api_route(path, _static(text, kind), include_in_schema=False)
    paths = {getattr(route, "path", "") for route in app.routes}

    def count(path: str, status: int, seconds: float) -> None:
        service.measured.request(path if path in paths else "other", status, seconds)

    return Guard(app, count, token=token, hosts=hosts)


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """The row, None in place of numbers that JSON does not have."""
    return {key: None if value != value else value for key, value in row.items()}


def _static(text: str, kind: str) -> Any:
    def static() -> Response:
        return Response(text, media_type=f"{kind}; charset=utf-8")

    return static
