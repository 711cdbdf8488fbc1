"""``coldlm push``: targets, refusals before any work, and what reaches the hub, whose answers are those of a
server on this machine: no test talks to the real one."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load, load_file

from coldlm.cli import main
from coldlm.commands.recommend import recommend
from coldlm.core.errors import RunFolderError


@dataclass
class Hub:
    """What the server holds and was asked. ``repositories``: OWNER/NAME -> file -> content; ``private``: who of
    them is; ``asked``: (method, path) in order; ``tokens``: (path, token that was shown); ``refuses``: it lets
    nobody write."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[tuple[str, str | None]] = field(default_factory=set)
    refuses: bool = False

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any], str]:
        """Status, content and error code."""
        parts = path.partition("?")[0].strip("/").split("/")
        name = "/".join(parts[2:4])
        if method == "GET":
            if name not in self.repositories:
                return 404, {"error": "Repository not found"}, "RepoNotFound"
            files = [{"rfilename": file} for file in self.repositories[name]]
            return 200, {"id": name, "private": self.private[name], "siblings": files}, ""
        if parts == ["api", "validate-yaml"]:
            return 200, {"errors": [], "warnings": []}, ""
        if self.refuses:
            return 403, {"error": "You do not have write access"}, ""
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.repositories[name] = {".gitattributes": b""}
            self.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
            return 200, {"url": f"http://127.0.0.1/{name}"}, ""
        if "preupload" in parts:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return 200, {"files": files}, ""
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                self.repositories[name][line["value"]["path"]] = content
        done = {"commitUrl": f"http://127.0.0.1/{name}/commit/1", "commitOid": "1", "success": True}
        return 200, done, ""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on this machine, with a token for it."""
    from huggingface_hub import constants

    it = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            it.asked.append((self.command, self.path))
            it.tokens.add((self.path, self.headers.get("Authorization")))
            status, content, code = it.answer(self.command, self.path, body)
            self.send_response(status)
            said = json.dumps(content).encode()
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = _do  # noqa: N815 (the server asks for these names)

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    yield it
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever begins to write fails."""

    def write(*_: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr("coldlm.experiment.push.write_push", write)


def test_a_push_to_a_folder_leaves_the_run_as_it_was(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in finished.iterdir()}
    assert main(["push", str(finished), "--to", str(tmp_path / "new" / "one")]) == 0
    assert "weights of stage online: written to" in capsys.readouterr().out
    assert {"README.md", "config.json", "model.safetensors", "head"} <= {
        file.name for file in (tmp_path / "new" / "one").iterdir()
    }
    assert {file: file.read_bytes() for file in finished.iterdir()} == before
    assert len(recommend(finished, query="spaceship", k=3)) == 3
    with pytest.raises(RunFolderError, match="is a pushed run"):
        recommend(tmp_path / "new" / "one", query="spaceship")


@pytest.mark.usefixtures("never")
def test_a_folder_that_is_not_empty_is_refused(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").touch()
    assert main(["push", str(finished), "--to", str(tmp_path)]) == 2
    assert "is there and not empty: choose another --to" in capsys.readouterr().err


@pytest.mark.usefixtures("never")
def test_a_run_without_weights_is_refused(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in ("config.resolved.yaml", "manifest.json"):
        (tmp_path / file).write_bytes((finished / file).read_bytes())
    assert main(["push", str(tmp_path), "--to", str(tmp_path / "out")]) == 2
    assert "holds no trained model" in capsys.readouterr().err


@pytest.mark.parametrize("public", [False, True])
def test_the_hub_gets_what_a_folder_gets(
    public: bool, hub: Hub, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(finished), "--to", "hub:me/mine", *["--public"] * public]) == 0
    assert main(["push", str(finished), "--to", str(tmp_path / "here")]) == 0
    assert ("private" in capsys.readouterr().out) != public
    assert hub.private == {"me/mine": not public}
    # the client asks its hub for more than we do, and shows no token then
    shown = {token for path, token in hub.tokens if "me/mine" in path or path.endswith("/create")}
    assert shown == {"Bearer hf_made_up"}
    files = hub.repositories["me/mine"]
    here = {
        p.relative_to(tmp_path / "here").as_posix()
        for p in (tmp_path / "here").rglob("*")
        if p.is_file()
    }
    assert files.keys() - {".gitattributes"} == here
    there, mine = (
        load(files["model.safetensors"]),
        load_file(tmp_path / "here" / "model.safetensors"),
    )
    assert there.keys() == mine.keys()
    assert all(bool((there[name] == mine[name]).all()) for name in mine)
    assert b'folder = snapshot_download("me/mine")' in files["README.md"]


@pytest.mark.usefixtures("never")
def test_without_a_token_the_hub_is_not_even_asked(
    hub: Hub, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(finished), "--to", "hub:me/mine"]) == 2
    assert "there is no token for the hub; set HF_TOKEN" in capsys.readouterr().err
    assert hub.asked == []


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize(
    ("files", "private", "public", "why"),
    [
        ({"a.txt": b""}, True, [], "is there and not empty (a.txt)"),
        ({}, False, [], "is there and public"),
        ({}, True, ["--public"], "is there and private"),
    ],
)
def test_a_repository_that_is_filled_or_read_by_others_is_refused(
    files: dict[str, bytes],
    private: bool,
    public: list[str],
    why: str,
    hub: Hub,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.repositories["me/mine"], hub.private["me/mine"] = {".gitattributes": b"", **files}, private
    assert main(["push", str(finished), "--to", "hub:me/mine", *public]) == 2
    assert why in capsys.readouterr().err
    assert {method for method, _ in hub.asked} == {"GET"}


def test_what_the_hub_refuses_is_told_in_a_line(
    hub: Hub, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refuses = True
    assert main(["push", str(finished), "--to", "hub:me/mine"]) == 2
    said = capsys.readouterr().err
    assert "hub:me/mine: the hub did not do it" in said
    assert "403" in said


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--to", "hub:mine"], "allowed is hub:OWNER/NAME"),
        (["--to", "folder", "--public"], "--public is for a repository on the hub"),
    ],
)
def test_a_command_line_that_means_nothing_is_refused(
    arguments: list[str], why: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(finished), *arguments]) == 2
    assert why in capsys.readouterr().err
