"""Files by what they hold."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from coldlm.core import files
from coldlm.core.files import hash_file


def test_a_file_is_read_again_only_where_it_may_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = hashlib.file_digest

    def counted(stream: object, name: str) -> object:
        read.append(name)
        return real(stream, name)  # type: ignore[arg-type]

    monkeypatch.setattr(files.hashlib, "file_digest", counted)
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    for _ in range(2):  # it might be written to again within a tick
        assert hash_file(file) == hashlib.sha256(b"one").hexdigest()
    assert len(read) == 2
    monkeypatch.setattr(files, "FRESH", 0.0)
    for n, content in enumerate((b"one", b"two", b"six"), start=1):
        time.sleep(0.02)
        file.write_bytes(content)
        os.utime(file, ns=(0, 0))  # neither size nor date tells
        for _ in range(2):
            assert hash_file(file) == hashlib.sha256(content).hexdigest()
        assert len(read) == 2 + n
