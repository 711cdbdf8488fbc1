"""Write files whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def write_file(file: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file in the same folder, then rename: a reader sees all of it
    or none."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` atomically."""
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
    write_file(file, lambda part: part.write_text(text, encoding="utf-8"))
