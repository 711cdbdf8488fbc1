"""``coldlm serve``: a finished run answers requests, takes feedback and goes on learning."""

from __future__ import annotations

import argparse
import gc
import ipaddress
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from coldlm.core.errors import ConfigError

log = logging.getLogger("coldlm")

TOKEN = "COLDLM_TOKEN"
"""The environment variable that may hold the token."""

MOST_CONNECTIONS = 512


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop."""
    arguments = parse(argv)
    token = _token(arguments.token_file)
    is_local = _is_loopback(arguments.host)
    if not is_local and not token:
        raise ConfigError(
            f"--host {arguments.host}: whoever reaches this machine could ask and teach the model: give "
            f"a token, by --token-file FILE or in {TOKEN}, or leave --host out (127.0.0.1)"
        )
    try:
        import uvicorn

        from coldlm.commands.serve.app import make_app
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"coldlm serve needs {error.name}: pip install 'coldlm[serve]'"
        ) from error
    from coldlm.experiment.live import Live

    gc.freeze()
    gc.enable()  # the command line starts without
    log.setLevel(logging.WARNING)
    live = Live(Path(arguments.run))
    try:
        if live.torn:
            print(
                f"journal: {live.torn} bytes of a torn line were dropped: nobody was told of them"
            )
        hosts = (
            None if not is_local or token else (arguments.host, "localhost", "127.0.0.1", "[::1]")
        )
        app = make_app(live, token=token, hosts=hosts, window=arguments.window)
        address = f"http://{arguments.host}:{arguments.port}"
        print(
            f"{arguments.run}: version {live.number}, {live.received:,} events and items in the journal; "
            f"the page is {address}/ and the interface {address}/openapi.json"
        )
        config = uvicorn.Config(
            app, arguments.host, arguments.port, log_level="warning", access_log=False,
            server_header=False, limit_concurrency=MOST_CONNECTIONS, timeout_graceful_shutdown=5,
        )  # fmt: skip
        uvicorn.Server(config).run()
    finally:
        live.close()
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="coldlm serve",
        description="Answer requests with a finished run, take feedback and new items, and make the next "
        "version by the run's own schedule while the one before answers; with a page to see it.",
        epilog="example: coldlm serve runs/quickstart",
    )
    parser.add_argument("run", help="a run folder with a trained model (head=towers)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=8000, help="default 8000")
    parser.add_argument(
        "--window",
        type=int,
        default=10,
        metavar="N",
        help="a window of the stream ends, for schedules that go by windows, after so many events "
        "(default 10)",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"file with the token that every request must bring (Authorization: Bearer ...); or {TOKEN}",
    )
    arguments = parser.parse_args(argv)
    if arguments.window < 1:
        parser.error(f"--window must be at least 1, got {arguments.window}")
    return arguments


def _token(file: Path | None) -> str:
    try:
        token = os.environ.get(TOKEN, "") if file is None else file.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"--token-file {file}: {error.strerror}") from error
    token = token.strip()
    if token and (len(token) < 16 or not token.isascii()):
        raise ConfigError("the token must have at least 16 ASCII characters: openssl rand -hex 16")
    if file is not None and not token:
        raise ConfigError(f"--token-file {file} is empty")
    return token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
