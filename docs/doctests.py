"""Doctests of docstrings as code: a paragraph that begins with >>> is fenced before it is read as
Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.M)
"""From >>> to the next empty line."""


class Doctests(griffe.Extension):
    """Fences the doctests of every object."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        if obj.docstring and ">>> " in obj.docstring.value:
            obj.docstring.value = DOCTEST.sub(
                lambda found: f"```pycon\n{found[0]}\n```", obj.docstring.value
            )
