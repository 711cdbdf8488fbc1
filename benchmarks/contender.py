"""A contender of a contest: a process that prints what there is to say of it, then does one piece of work for each
line that it reads. Nothing of coldlm is imported here: other libraries live in an environment of their own."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable


def serve(work: Callable[[], int], **said: object) -> None:
    """Print ``said``, then for each line read the seconds of ``work()``, how much it did, and the largest resident
    memory so far in MB, all as lines of JSON. What else is printed goes to the standard error."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print(json.dumps(said), file=out)
    for _ in sys.stdin:
        begin = time.perf_counter()
        n = work()
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "n": n, "mb": peak_mb()}), file=out)


def peak_mb() -> float:
    """The most memory so far: of a GPU where one is used, else resident."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated() / 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
