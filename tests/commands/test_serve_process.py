"""The server as a process of its own: a kill without warning, and the page in a browser."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

SECOND = 1000

pytestmark = pytest.mark.long


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def call(port: int, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    sent = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as to:
        to.request("GET" if body is None else "POST", path, sent, headers)
        reply = to.getresponse()
        content = reply.read()
    assert reply.status < 300, content
    return dict(json.loads(content))


class Server:
    def __init__(self, run: Path, *words: str) -> None:
        self.port = free_port()
        command = [
            sys.executable,
            "-m",
            "coldlm",
            "serve",
            str(run),
            "--port",
            str(self.port),
            *words,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(600):
            time.sleep(0.1)
            assert self.process.poll() is None
            try:
                call(self.port, "/status")
                return
            except OSError:
                continue
        raise AssertionError("no answer")

    def stop(self) -> str:
        self.process.terminate()
        return self.process.communicate(timeout=30)[0]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def test_nothing_acknowledged_is_lost_by_a_kill(run: Path) -> None:
    """Three clients send what was taken, with updates beside them, until the server is killed in the middle;
    everything that was acknowledged is there afterwards, and what is sent again is not taken twice."""
    server = Server(run, "--window", "5")
    acknowledged: list[str] = []
    sent: list[dict[str, Any]] = []

    def visit(client: int) -> None:
        for number in range(10_000):
            body = {
                "items": [f"i{number % 60}"],
                "user": f"v{client}",
                "request": f"{client} {number}",
            }
            sent.append(body)
            try:
                call(server.port, "/feedback", body)
            except (OSError, http.client.HTTPException):
                return
            acknowledged.append(str(body["request"]))

    threads = [threading.Thread(target=visit, args=(client,)) for client in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(4)
    os.kill(server.process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    server.process.communicate()
    assert len(acknowledged) > 20
    again = Server(run, "--window", "5")
    status = call(again.port, "/status")
    journal = (run / "live" / "journal.jsonl").read_text("utf-8").splitlines()
    requests = [json.loads(line)["event"]["request"] for line in journal]
    assert status["received"] == len(journal)
    assert set(acknowledged) <= set(requests)
    assert len(set(requests)) == len(requests)
    assert status["version"] >= 5
    for body in sent:
        call(again.port, "/feedback", body)
    assert call(again.port, "/status")["received"] == len(sent)
    assert "events and items in the journal" in again.stop()
    assert again.process.returncode in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


def test_another_address_needs_a_token(run: Path) -> None:
    from coldlm.commands.serve import main
    from coldlm.core.errors import ConfigError

    with pytest.raises(ConfigError, match="give a token"):
        main([str(run), "--host", "0.0.0.0"])


@pytest.fixture
def open_page(browser: Any, run: Path) -> Iterator[Callable[..., Any]]:
    """``open_page(language, width)``: a tab in which no error occurs and nothing else is asked."""
    server, said, opened = Server(run, "--window", "1000"), list[str](), []

    def open_it(language: str, width: int = 1200) -> Any:
        context = browser.new_context(locale=language, viewport={"width": width, "height": 900})
        page = context.new_page()
        page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        here = f"http://127.0.0.1:{server.port}/"
        page.on(
            "request", lambda r: None if r.url.startswith((here, "data:")) else said.append(r.url)
        )
        page.goto(here)
        opened.append(context)
        return page

    yield open_it
    for context in opened:
        context.close()
    server.stop()
    assert said == []


def titles(page: Any) -> list[str]:
    return list(
        page.locator("#list li:not(.apart)").evaluate_all("all => all.map(x => x.dataset.item)")
    )


def test_from_a_query_to_a_changed_list(open_page: Callable[..., Any]) -> None:
    page = open_page("en-US")
    assert page.locator("html").get_attribute("lang") == "en"
    page.fill("#text", "guitar melody")
    page.press("#text", "Enter")
    page.wait_for_selector("#list li")
    first = titles(page)
    assert len(first) == 10
    version = page.inner_text("#version")
    page.locator("#list li button").first.click()
    page.wait_for_selector("#taken li")
    page.wait_for_function(
        "item => document.querySelector('#list li').dataset.item !== item", arg=first[0]
    )
    assert first[0] not in titles(page)
    page.click("#learn")
    page.wait_for_function(
        "old => document.getElementById('version').textContent !== old", arg=version
    )
    page.wait_for_selector("#update:not([hidden])", timeout=30 * SECOND)
    facts = page.inner_text("#update_facts")
    assert "→" in facts
    assert page.locator("#moves div").count() > 0
    page.wait_for_function(
        "() => document.querySelector('.rank small')"
    )  # somebody stands elsewhere now
    page.fill("#title", "guitar <b>melody</b>")
    page.click("#add button")
    page.wait_for_selector("#list li.entered")
    added = page.locator("#list li.entered .name").first
    assert "guitar <b>melody</b>" in added.inner_text()  # as text, not as markup
    assert added.locator("b").count() == 0


def test_the_page_speaks_chinese_and_fits_a_telephone(open_page: Callable[..., Any]) -> None:
    page = open_page("zh-CN", 400)
    page.locator("#examples button").first.click()
    page.wait_for_selector("#list li")
    assert page.input_value("#text") == "智能手表"
    assert page.inner_text("#list li button >> nth=0") == "我要这个"
    page.click("#language")
    assert page.inner_text("#list li button >> nth=0") == "I'd take this"
    wider = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wider <= 0
