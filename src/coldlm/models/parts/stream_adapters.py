"""Adapters that wait for the stream: what training before it leaves alone, and an update may move.

They are told by their parameters' names.
"""

from __future__ import annotations

import re

PREFIX = "stream"
_NAMED = re.compile(rf"\.{PREFIX}(\d+)(?:\.|$)")


def adapter_name(number: int) -> str:
    """Return what peft is to call the adapter ``number``, from 1."""
    return f"{PREFIX}{number}"


def adapter_number(parameter: str) -> int:
    """Return the number of the adapter that a parameter belongs to; 0 where it is of none that waits.

    >>> adapter_number("query.lora_A.stream2.weight"), adapter_number("query.lora_A.default.weight")
    (2, 0)
    """
    found = _NAMED.search(parameter)
    return int(found[1]) if found else 0
