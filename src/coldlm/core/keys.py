"""Keys of services, as far as they are there: nobody is asked for one."""

from __future__ import annotations

import netrc
import os
from urllib.parse import urlsplit

WANDB = "https://api.wandb.ai"
"""Where Weights & Biases is, unless WANDB_BASE_URL names a server of one's own."""


def has_wandb_key() -> bool:
    """Return whether the environment, or the netrc entry of the server in use, holds a key of
    Weights & Biases."""
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or WANDB).hostname or ""
    try:
        return bool(
            os.environ.get("WANDB_API_KEY")
            or netrc.netrc(os.environ.get("NETRC")).authenticators(host)
        )
    except (OSError, netrc.NetrcParseError):
        return False
