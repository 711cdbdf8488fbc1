"""The HTTP interface, in process: endpoints, limits, token, a kill, and requests beside an update."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="pip install 'coldlm[serve]'")
pytest.importorskip("httpx")
from fastapi.testclient import TestClient

from coldlm.commands.serve import guard
from coldlm.commands.serve.app import make_app
from coldlm.experiment.live import Live
from coldlm.runs.journal import read_journal

HOST = "http://127.0.0.1"


@pytest.fixture(scope="module")
def run(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(finished, tmp_path_factory.mktemp("served") / "run")


@contextmanager
def served(run: Path, **keys: Any) -> Iterator[TestClient]:
    live = Live(run)
    try:
        keys = {"hosts": ("127.0.0.1",), "window": 10_000} | keys
        with TestClient(make_app(live, **keys), base_url=HOST) as client:
            client.live = live  # type: ignore[attr-defined]
            yield client
    finally:
        live.close()


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[TestClient]:
    with served(run) as client:
        yield client


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    reply = client.post("/recommend", json=body)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def wait_for(client: TestClient, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    for _ in range(600):
        if done(status := client.get("/status").json()):
            return status
        threading.Event().wait(0.02)
    raise AssertionError(status)


def test_a_list_says_whose_it_is_and_what_its_scores_are_made_of(client: TestClient) -> None:
    said = ask(client, text="guitar melody", k=5, also=["i3"])
    assert [place["rank"] for place in said["places"]] == [1, 2, 3, 4, 5]
    assert said["version"] == client.get("/status").json()["version"] == 4
    for place in said["places"] + said["also"]:
        assert place["score"] == pytest.approx(place["text"] + place["context"], abs=1e-5)
    assert said["also"][0]["item"] == "i3"
    assert ask(client, text="x", user="u3")["places"] != ask(client, text="x")["places"]
    taken = said["places"][0]["item"]
    assert taken not in [p["item"] for p in ask(client, history=[taken], k=60)["places"]]
    assert len(ask(client, slots=3, k=10)["places"]) == 10


def test_feedback_counts_at_once_with_the_text_that_was_typed(
    client: TestClient, run: Path
) -> None:
    said = ask(client, text="tulip", user="anna", k=3)
    place = said["places"][0]
    body = {"request": said["request"], "items": [place["item"]]}
    reply = client.post("/feedback", json=body).json()
    assert reply == {"accepted": 1, "n": {place["item"]: place["n"] + 1}}
    assert client.post("/feedback", json=body).json()["accepted"] == 0  # sent again: taken once
    line = read_journal(run / "live" / "journal.jsonl")[0][-1]["event"]
    assert (line["text"], line["user"]) == ("tulip", "anna")
    assert line["shown"] == [place["item"] for place in said["places"]]
    assert place["item"] not in [p["item"] for p in ask(client, user="anna", k=60)["places"]]


def test_a_new_item_is_ranked_at_once(client: TestClient) -> None:
    reply = client.post("/items", json={"id": "fresh", "title": "guitar", "text": "guitar melody"})
    assert reply.status_code == 201
    said = ask(client, text="guitar melody", k=1, also=["fresh"])
    assert said["also"][0]["n"] == 0
    assert 1 <= said["also"][0]["rank"] <= 61
    again = client.post("/items", json={"id": "fresh", "title": "guitar"})
    assert (again.status_code, "exists already" in again.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/recommend", {"k": 101}, 422, "less than or equal to 100"),
        ("/recommend", {"k": 3, "slots": 4}, 422, "do not fit"),
        ("/recommend", {"text": "x" * 2001}, 422, "at most 2000"),
        ("/recommend", {"history": ["nothing"]}, 422, "does not exist"),
        ("/recommend", {"history": ["i1"], "user": "u1"}, 422, "leave history out"),
        ("/recommend", {"q": "x"}, 422, "Extra inputs"),
        ("/feedback", {"items": ["i1"]}, 422, "give the request"),
        ("/feedback", {"items": [], "user": "x"}, 422, "at least 1"),
        ("/feedback", {"items": ["nothing"], "user": "x"}, 422, "does not exist"),
        ("/items", {"id": "", "title": "x"}, 422, "at least 1"),
        ("/items", {"id": "a", "title": "x", "text": "x" * 70_000}, 413, "larger than"),
    ],
)
def test_what_is_too_much_or_not_there_is_refused(
    client: TestClient, path: str, body: dict[str, Any], status: int, says: str
) -> None:
    reply = client.post(path, json=body)
    assert reply.status_code == status
    assert says in reply.text


def test_other_names_other_kinds_and_bodies_without_an_end_are_refused(client: TestClient) -> None:
    assert client.get("/status", headers={"Host": "evil.example"}).status_code == 421
    plain = {"Content-Type": "text/plain"}
    assert client.post("/feedback", content="{}", headers=plain).status_code == 415
    parts = (b" " * 1000 for _ in range(100))  # chunked: no length is told beforehand
    headers = {"Content-Type": "application/json"}
    assert client.post("/recommend", content=parts, headers=headers).status_code == 413
    reply = client.options("/recommend", headers={"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in reply.headers


def test_whoever_is_too_many_is_told_when_to_come_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MOST_WAITING", 0)
    reply = client.get("/status")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")


def test_a_full_disk_takes_nothing_and_says_so(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    received = client.get("/status").json()["received"]
    body = {"items": ["i9"], "user": "bert"}
    with monkeypatch.context() as patch:
        patch.setattr("coldlm.runs.journal.os.fsync", full)
        reply = client.post("/feedback", json=body)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "10")
    assert client.get("/status").json()["received"] == received
    assert client.post("/feedback", json=body).json()["accepted"] == 1


def test_numbers_for_prometheus_and_the_interface_with_examples(client: TestClient) -> None:
    ask(client, text="guitar")
    said = client.get("/metrics").text
    assert 'coldlm_requests_total{path="/recommend",status="200"}' in said
    assert "coldlm_version 4.0" in said
    schema = client.get("/openapi.json").json()
    assert schema["components"]["schemas"]["Recommend"]["examples"]
    assert {"/recommend", "/feedback", "/items", "/status", "/metrics"} <= set(schema["paths"])
    for path, kind in (("/", "html"), ("/page.js", "javascript"), ("/page.css", "css")):
        page = client.get(path)
        assert kind in page.headers["content-type"]
        assert "default-src 'self'" in page.headers["content-security-policy"]


def test_requests_beside_an_update_are_each_of_one_version_and_lose_nothing(
    client: TestClient, run: Path
) -> None:
    """While the next version is made, asked for by the first feedback: many ask and many take."""
    texts = ("guitar", "tulip", "detective")
    received = client.get("/status").json()["received"]

    def visit(number: int) -> tuple[int, str, list[tuple[str, float]]]:
        text = texts[number % 3]
        said = ask(client, text=text, k=60)
        body = {
            "request": said["request"],
            "items": [said["places"][0]["item"]],
            "user": f"v{number}",
        }
        reply = client.post("/feedback", json=body)
        assert reply.json()["accepted"] == 1
        if number == 0:  # 429: the schedule has asked for one already, or the other request has
            assert client.post("/update", json={}).status_code in (202, 429)
            assert client.post("/update", json={}).status_code in (202, 429)
        return said["version"], text, [(p["item"], p["text"]) for p in said["places"]]

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(visit, range(40)))
    status = wait_for(client, lambda status: not status["learning"])
    assert status["version"] > 4
    assert status["failure"] == ""
    assert (
        status["received"] == received + 40 == len(read_journal(run / "live" / "journal.jsonl")[0])
    )
    # what the text says depends on the weights alone: one value per version, text and item
    said: dict[tuple[int, str, str], float] = {}
    for version, text, places in [*seen, *(visit(n) for n in (1, 2))]:
        for item, value in places:
            assert said.setdefault((version, text, item), value) == pytest.approx(value, abs=1e-4)
    assert len({version for version, *_ in said}) > 1


def test_what_was_acknowledged_is_there_after_a_kill_and_a_torn_line_is_told(
    run: Path, tmp_path: Path
) -> None:
    """The files as a kill leaves them: copied while the server runs."""
    with served(
        shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("live"))
    ) as client:
        client.post("/items", json={"id": "fresh", "title": "tulip"})
        for item in ("i1", "fresh", "i2"):
            body = {"items": [item], "user": "carla", "text": "tulip"}
            assert client.post("/feedback", json=body).json()["accepted"] == 1
        killed = shutil.copytree(tmp_path / "run", tmp_path / "killed")
    with (killed / "live" / "journal.jsonl").open("a") as file:
        file.write(json.dumps({"event": {"user": "carla", "item": "i3"}})[:-5])
    with served(killed) as client:
        status = client.get("/status").json()
        assert (status["received"], status["torn_bytes"] > 0) == (4, True)
        assert client.live.user("carla") is not None  # type: ignore[attr-defined]
        mine = [p["item"] for p in ask(client, user="carla", k=61)["places"]]
        assert set(mine).isdisjoint({"i1", "i2", "fresh"})


def test_a_window_that_is_over_makes_a_version_and_a_token_keeps_others_out(
    run: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("live"))
    key = {"Authorization": "Bearer 0123456789abcdef"}
    with served(copy, token="0123456789abcdef", hosts=None, window=2) as client:
        assert client.get("/").status_code == 200  # the page, which asks for it
        for headers in ({}, {"Authorization": "Bearer 0123456789abcdeX"}):
            assert client.get("/status", headers=headers).status_code == 401
            assert client.post("/feedback", json={}, headers=headers).status_code == 401
        client.headers.update(key)
        first = wait_for(client, lambda status: status["version"] == 5)  # the run's last window
        for item in ("i1", "i2"):
            client.post("/feedback", json={"items": [item], "user": "dora"})
        status = wait_for(client, lambda status: status["version"] == 6)
        assert first["waiting"] == status["waiting"] == 0
        assert status["last_update"]["n_events"] in (1, 2)
        assert client.post("/update", json={}).status_code == 422
