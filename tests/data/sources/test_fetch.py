"""Downloads from a server on this machine, some of them hostile."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from coldlm.core.errors import DataError
from coldlm.data.sources.fetch import Remote, damaged, fetch, read_record
from coldlm.data.sources.unpack import unpack

CONTENT = bytes(range(256)) * 20


class Server:
    """Serves ``files``; ``breaks``: bytes after which an answer ends; ``asked``: (path, range) of
    each request;
    ``shift``: of what it says that a part begins with."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks: dict[str, int] = {}
        self.ranges, self.shift = True, 0
        self.asked: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                server.asked.append((self.path, wanted))
                content = server.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                first = (
                    int(wanted.removeprefix("bytes=").rstrip("-"))
                    if wanted and server.ranges
                    else 0
                )
                if first >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                self.send_response(206 if first else 200)
                self.send_header("Content-Length", str(len(content) - first))
                if first:
                    self.send_header(
                        "Content-Range",
                        f"bytes {first - server.shift}-{len(content) - 1}/{len(content)}",
                    )
                self.end_headers()
                self.wfile.write(content[first : server.breaks.pop(self.path, len(content))])

            def log_message(self, *_: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/{name}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()


def _sha(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        for name, content in files.items():
            package.writestr(name, content)
    return buffer.getvalue()


def _tar(*members: tarfile.TarInfo, content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as package:
        for member in members:
            member.size = len(content) if member.isfile() else 0
            package.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def test_a_file_arrives_once_and_is_recorded(server: Server, tmp_path: Path) -> None:
    server.files["/a.csv"] = CONTENT
    seen: list[tuple[int, int]] = []
    remote = Remote(server.url("a.csv"), _sha(CONTENT))
    assert fetch(remote, tmp_path / "new", lambda done, total: seen.append((done, total)))
    assert not fetch(remote, tmp_path / "new")
    assert (tmp_path / "new" / "a.csv").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(server.asked) == 1
    entry = read_record(tmp_path / "new")["a.csv"]
    assert entry["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert damaged(tmp_path / "new", entry) == []
    (tmp_path / "new" / "a.csv").write_bytes(b"changed")
    assert damaged(tmp_path / "new", entry) == ["a.csv"]
    assert fetch(remote, tmp_path / "new")
    assert (tmp_path / "new" / "a.csv").read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_is_resumed(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.files["/a.csv"], server.breaks["/a.csv"], server.ranges = CONTENT, 2000, ranges
    remote = Remote(server.url("a.csv"), f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    with pytest.raises(DataError, match="the same command goes on from there"):
        fetch(remote, tmp_path)
    assert (tmp_path / "a.csv.part").stat().st_size == 2000
    assert not (tmp_path / "a.csv").exists()
    assert fetch(remote, tmp_path)
    assert server.asked[-1] == ("/a.csv", "bytes=2000-")
    assert (tmp_path / "a.csv").read_bytes() == CONTENT


def test_a_download_that_lacked_nothing_but_the_check_goes_on(
    server: Server, tmp_path: Path
) -> None:
    server.files["/a.csv"] = CONTENT
    (tmp_path / "a.csv.part").write_bytes(CONTENT)
    assert fetch(Remote(server.url("a.csv"), _sha(CONTENT)), tmp_path)
    assert (tmp_path / "a.csv").read_bytes() == CONTENT


@pytest.mark.parametrize("kept", [CONTENT[:2000], CONTENT + b"tail", b"z" * len(CONTENT)])
def test_what_does_not_fit_is_downloaded_anew(server: Server, tmp_path: Path, kept: bytes) -> None:
    """A server that gives another part than it was asked for; a file longer than the server's."""
    server.files["/a.csv"], server.shift = CONTENT, 7
    (tmp_path / "a.csv.part").write_bytes(kept)
    remote = Remote(server.url("a.csv"), _sha(CONTENT))
    if kept.startswith(b"zz"):  # as long as it should be: nothing but the digest can tell
        with pytest.raises(DataError, match="another edition, or damaged"):
            fetch(remote, tmp_path)
    assert fetch(remote, tmp_path)
    assert (tmp_path / "a.csv").read_bytes() == CONTENT


def test_an_archive_that_cannot_be_unpacked_is_put_aside(server: Server, tmp_path: Path) -> None:
    server.files["/set.zip"] = b"<html>log in</html>"
    remote = Remote(server.url("set.zip"), unpack=True)
    with pytest.raises(DataError, match=r"damaged .* It lies in .*set\.zip\.wrong"):
        fetch(remote, tmp_path)
    server.files["/set.zip"] = _zip({"a.csv": b"1"})
    assert fetch(remote, tmp_path)
    assert (tmp_path / "a.csv").read_bytes() == b"1"


@pytest.mark.parametrize("own", ["", "MINDsmall_dev/"])
def test_two_archives_of_equal_names_go_to_folders_of_their_own(
    server: Server, tmp_path: Path, own: str
) -> None:
    """MIND's archives hold news.tsv and behaviors.tsv, some copies below a folder, others not."""
    for part in ("train", "dev"):
        server.files[f"/MINDsmall_{part}.zip"] = _zip(
            {f"{own.replace('dev', part)}news.tsv": part.encode()}
        )
        fetch(
            Remote(server.url(f"MINDsmall_{part}.zip"), unpack=True, into=f"MINDsmall_{part}"),
            tmp_path,
        )
    assert (tmp_path / "MINDsmall_train" / "news.tsv").read_bytes() == b"train"
    assert (tmp_path / "MINDsmall_dev" / "news.tsv").read_bytes() == b"dev"
    assert set(read_record(tmp_path)["MINDsmall_dev.zip"]["files"]) == {"MINDsmall_dev/news.tsv"}


def test_another_file_than_expected_is_put_aside(server: Server, tmp_path: Path) -> None:
    server.files["/a.csv"] = b"another edition"
    with pytest.raises(DataError, match=r"sha256 .*, expected .*: another edition, or damaged"):
        fetch(Remote(server.url("a.csv"), _sha(CONTENT)), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "a.csv.wrong"
    ]
    server.files["/a.csv"] = CONTENT
    assert fetch(Remote(server.url("a.csv"), _sha(CONTENT)), tmp_path)


def test_what_the_server_does_not_have_or_nobody_serves_is_said(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="the server says 404"):
        fetch(Remote(server.url("nothing.csv")), tmp_path)
    with pytest.raises(DataError, match="goes on from there"):
        fetch(Remote("http://127.0.0.1:9/a.csv"), tmp_path)


def test_an_archive_is_unpacked_and_not_kept(server: Server, tmp_path: Path) -> None:
    server.files["/set.zip"] = _zip({"set/a.csv": b"1", "set/deep/b.csv": b"2"})
    remote = Remote(server.url("set.zip"), unpack=True)
    assert fetch(remote, tmp_path)
    assert not fetch(remote, tmp_path)
    assert (tmp_path / "set" / "deep" / "b.csv").read_bytes() == b"2"
    assert not list(tmp_path.glob("set.zip*"))
    assert set(read_record(tmp_path)["set.zip"]["files"]) == {"set/a.csv", "set/deep/b.csv"}


def test_many_at_once_download_once(server: Server, tmp_path: Path) -> None:
    server.files["/set.zip"] = _zip({"a.csv": CONTENT})
    remote = Remote(server.url("set.zip"), unpack=True)
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: fetch(remote, tmp_path), range(4))) == [
            False,
            False,
            False,
            True,
        ]
    assert len(server.asked) == 1


def test_files_fetched_at_once_are_all_recorded(server: Server, tmp_path: Path) -> None:
    names = [f"{n}.csv" for n in range(8)]
    server.files |= {f"/{name}": CONTENT for name in names}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: fetch(Remote(server.url(name)), tmp_path), names))
    assert sorted(read_record(tmp_path)) == names


Archive = Callable[[], bytes]


def _lying() -> bytes:
    """A zip whose directory says that a file is shorter than it is."""
    good = _zip({"a.csv": b"x" * 1000})
    size = (1000).to_bytes(4, "little")
    return good[: good.rindex(b"PK\x01\x02")] + good[good.rindex(b"PK\x01\x02") :].replace(
        size + size, size + b"\5\0\0\0"
    )


def _zip_entry(mode: int) -> bytes:
    entry = zipfile.ZipInfo("a.csv")
    entry.external_attr = mode << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


def _encrypted() -> bytes:
    """A zip that says of its file that it is encrypted."""
    good = bytearray(_zip({"a.csv": b"1"}))
    good[6] |= 1
    good[good.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(good)


def _cut_inside_a_block() -> bytes:
    """A zip whose compressed bytes are no such thing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("a.csv", b"b" * 1000)
    good = bytearray(buffer.getvalue())
    good[36:38] = b"\xff\xff"
    return bytes(good)


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        ("zip", lambda: _zip({"a.csv": b"1", "../b.csv": b"2"}), "'../b.csv' would lie outside"),
        ("zip", lambda: _zip({"/tmp/b.csv": b"2"}), "would lie outside"),
        ("zip", lambda: _zip({"..\\b.csv": b"2"}), "would lie outside"),
        ("zip", lambda: _zip({"C:b.csv": b"2"}), "would lie outside"),
        ("zip", lambda: _zip({"a.csv": b"1", "A.csv": b"2"}), "is there twice"),
        ("zip", lambda: _zip({"a.csv": bytes(3000)}), "more than 2,000 bytes unpacked"),
        ("zip", lambda: _zip_entry(0o120777), "is a link"),
        ("zip", lambda: _zip_entry(0o010644), "is a link or device"),
        ("zip", lambda: _zip({"./a.csv": b"1", "a.csv": b"2"}), "is there twice"),
        ("zip", lambda: _zip({"caf\u00e9": b"1", "cafe\u0301": b"2"}), "is there twice"),
        ("zip", lambda: _zip({"fetched.json": b"{}"}), "is no name for a file of data"),
        ("zip", lambda: _zip({".accepted-terms.json": b"[]"}), "is no name for a file of data"),
        ("zip", lambda: _zip({"a\nb.csv": b"1"}), "is no name for a file of data"),
        ("zip", lambda: _zip({"a.csv": b"1"}).replace(b"a.csv", b"\0.csv"), "damaged"),
        ("zip", lambda: _zip({"d/" * 2000 + "a.csv": b"1"}), "damaged"),
        ("zip", lambda: _zip({"a.csv": b"1", "a.csv/b": b"2"}), "damaged"),
        ("zip", _encrypted, "damaged .RuntimeError"),
        ("zip", _cut_inside_a_block, "damaged"),
        ("zip", _lying, "damaged|larger than the archive says"),
        ("zip", lambda: _zip({"a.csv": CONTENT})[:-40], "damaged"),
        ("zip", lambda: b"<html>not found</html>", "damaged"),
        ("tar.gz", lambda: _tar(_member("../a")), "would lie outside"),
        ("tar.gz", lambda: _tar(_member("/a")), "would lie outside"),
        ("tar.gz", lambda: _tar(_member("a", tarfile.SYMTYPE, "/etc/passwd")), "is a link or device"),
        ("tar.gz", lambda: _tar(_member("a"), _member("b", tarfile.LNKTYPE, "a")), "is a link or device"),
        ("tar.gz", lambda: _tar(_member("a", tarfile.CHRTYPE)), "is a link or device"),
        ("tar.gz", lambda: _tar(_member("a"), _member("a")), "is there twice"),
        ("tar.gz", lambda: _tar(_member("a"), content=bytes(3000)), "more than 2,000 bytes"),
        ("tar.gz", lambda: _tar(_member("a"), content=CONTENT[:1500])[:-30], "damaged"),
    ],
)  # fmt: skip
def test_a_hostile_or_damaged_archive_leaves_nothing(
    tmp_path: Path, kind: str, make: Archive, message: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    archive = tmp_path / f"set.{kind}"
    archive.write_bytes(make())
    with pytest.raises(DataError, match=message):
        unpack(archive, folder, kind=archive.name, largest=2000)
    assert list(folder.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", archive.name]


def test_a_file_of_yours_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mine")
    archive = tmp_path / "set.zip"
    archive.write_bytes(_zip({"a.csv": b"theirs", "b.csv": b"2"}))
    with pytest.raises(DataError, match=r"a\.csv is there already, with other content"):
        unpack(archive, tmp_path, kind="set.zip")
    assert (tmp_path / "a.csv").read_text() == "mine"
    assert not (tmp_path / "b.csv").exists()
    archive.write_bytes(_zip({"a.csv": b"mine", "b.csv": b"2"}))
    assert set(unpack(archive, tmp_path, kind="set.zip")) == {"a.csv", "b.csv"}


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    (tmp_path / "fetched.json").write_text("{")
    with pytest.raises(DataError, match=r"fetched\.json is damaged"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "content",
    [_zip({}), _tar(), _tar(_member("a", tarfile.DIRTYPE))],
    ids=["zip", "tar", "a folder"],
)
def test_an_archive_without_a_file_is_not_what_was_meant(
    server: Server, tmp_path: Path, content: bytes
) -> None:
    name = "a.zip" if content.startswith(b"PK") else "a.tar.gz"
    server.files[f"/{name}"] = content
    with pytest.raises(
        DataError, match=rf"{name}: holds no file: not the archive that was meant. It lies in "
    ):
        fetch(Remote(server.url(name), unpack=True), tmp_path)
    assert read_record(tmp_path) == {}


def test_what_a_killed_process_had_unpacked_is_removed_and_that_of_others_is_not(
    server: Server, tmp_path: Path
) -> None:
    server.files["/a.zip"] = _zip({"a/x": b"1"})
    for name in (".unpack-a.zip-killed", ".unpack-b.zip-busy"):
        (tmp_path / name / "a").mkdir(parents=True)
        (tmp_path / name / "a" / "x").write_bytes(b"half")
    fetch(Remote(server.url("a.zip"), unpack=True), tmp_path)
    assert (tmp_path / "a" / "x").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".unpack")] == [
        ".unpack-b.zip-busy"
    ]
