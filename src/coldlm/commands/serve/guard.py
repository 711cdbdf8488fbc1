"""What stands before the application: who may ask, how much, and how many at once."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MOST_BYTES = 64 * 1024
"""Of a request's body."""

MOST_WAITING = 64
"""Requests that are worked on or wait; more are sent away until some are done."""

MOST_SECONDS = 10.0
"""In which a body must have come."""

OPEN = ("/", "/page.js", "/page.css")
"""Paths that need no token: the page, which asks for it."""

HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Guard:
    """Sends away whoever may not ask, and whatever is too much.

    Args:
        token: that a request must bring, "" for none.
        hosts: names by which the server may be called, so that no page of another name reaches it
            through a browser (DNS rebinding); None for any.
        on_answer: told of path, status and seconds.
    """

    def __init__(
        self,
        app: App,
        on_answer: Callable[[str, int, float], None],
        *,
        token: str = "",
        hosts: Sequence[str] | None = None,
    ) -> None:
        self._app, self._on_answer, self._token = app, on_answer, token.encode()
        self._hosts = None if hosts is None else {host.encode() for host in hosts}
        self._waiting = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, heads, begin = scope["path"], dict(scope["headers"]), time.perf_counter()

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
                self._on_answer(path, message["status"], time.perf_counter() - begin)
            await send(message)

        if refused := self._refusal(scope["method"], path, heads):
            await _say(told, *refused)
            return
        if self._waiting >= MOST_WAITING:
            await _say(told, 503, f"{MOST_WAITING} requests are waiting: come again", 1)
            return
        self._waiting += 1
        try:
            body = await asyncio.wait_for(_body(receive), MOST_SECONDS)
            if body is None:
                await _say(told, 413, f"the body is larger than {MOST_BYTES:,} bytes")
                return
            given = [{"type": "http.request", "body": body, "more_body": False}]

            async def replay() -> Message:
                return given.pop() if given else await receive()

            await self._app(scope, replay, told)
        except TimeoutError:
            await _say(told, 408, f"the body did not come within {MOST_SECONDS:g} s")
        finally:
            self._waiting -= 1

    def _refusal(self, method: str, path: str, heads: dict[bytes, bytes]) -> tuple[int, str] | None:
        if self._hosts is not None:
            host = heads.get(b"host", b"").rpartition(b":")
            name = host[0] if host[1] and host[2].isdigit() else heads.get(b"host", b"")
            if name not in self._hosts:
                return 421, f"this server is not called {name.decode(errors='replace')!r}"
        if self._token and path not in OPEN:
            given = heads.get(b"authorization", b"").removeprefix(b"Bearer ")
            if not hmac.compare_digest(given, self._token):
                return 401, "a token is needed: Authorization: Bearer TOKEN"
        kind = heads.get(b"content-type", b"").split(b";")[0].strip()
        if method == "POST" and kind != b"application/json":
            # what a page of another origin cannot send without asking first
            return 415, "the body must be JSON: Content-Type: application/json"
        size = heads.get(b"content-length", b"0")
        if not size.isdigit() or int(size) > MOST_BYTES:
            return 413, f"the body is larger than {MOST_BYTES:,} bytes"
        return None


async def _body(receive: Receive) -> bytes | None:
    """The body, None if it is too large."""
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MOST_BYTES:
            return None
        if not message.get("more_body", False):
            return body


async def _say(send: Send, status: int, why: str, after: int = 0) -> None:
    heads = [(b"content-type", b"application/json")]
    heads += [(b"retry-after", str(after).encode())] if after else []
    heads += [(b"www-authenticate", b"Bearer")] if status == 401 else []
    await send({"type": "http.response.start", "status": status, "headers": heads})
    await send({"type": "http.response.body", "body": json.dumps({"detail": why}).encode()})
