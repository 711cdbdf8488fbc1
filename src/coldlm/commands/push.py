"""``coldlm push``: a run's trained weights as a folder that others use without coldlm, here or on the hub."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from coldlm.core.errors import ColdlmError, ConfigError
from coldlm.core.files import new_folder, refuse_filled
from coldlm.runs.last import LEFT_BY

if TYPE_CHECKING:
    from coldlm.experiment.push import Source

DESCRIPTION = """\
Write what a run has trained as other software reads it: an adapter of peft, or a whole model of transformers, with its
tokenizer, the head in a file of its own, and a card (README.md) that says how it is used, what was measured, and what
nobody should believe of it. No data are needed, no pickle is written."""

EPILOG = """\
examples:
  coldlm push runs/default --to shared/minilm-lora           a folder, which must not be there or be empty
  coldlm push runs/default --to shared/before --stage train  the weights before the stream
  coldlm push runs/default --to hub:OWNER/NAME               a private repository on the Hugging Face hub"""

HUB: Final = "hub:"
NAMED: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
EMPTY: Final = {".gitattributes"}
"""What a repository holds in which nothing is."""


def main(argv: Sequence[str]) -> int:
    """Run ``coldlm push`` with ``argv`` (without the program's name); 0 when it is there.

    Raises:
        ColdlmError: no token, a target that is not empty, or what ``experiment.push`` raises.
    """
    parser = argparse.ArgumentParser(
        "coldlm push",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="a run folder with a trained model")
    parser.add_argument(
        "--to", required=True, metavar="FOLDER | hub:OWNER/NAME", help="where it goes"
    )
    parser.add_argument(
        "--stage", choices=tuple(LEFT_BY), help="whose weights; default: the last that there are"
    )
    parser.add_argument(
        "--public", action="store_true", help="let everybody read the repository on the hub"
    )
    asked = parser.parse_args(argv)
    is_hub = asked.to.startswith(HUB)
    if asked.public and not is_hub:
        parser.error(f"--public is for a repository on the hub: --to {HUB}OWNER/NAME")
    push = _to_hub if is_hub else _to_folder
    print(push(asked))
    return 0


def _to_folder(asked: argparse.Namespace) -> str:
    folder = Path(asked.to)
    refuse_filled(folder, "--to")
    source = _source(asked)
    from coldlm.experiment.push import write_push

    with new_folder(folder) as part:
        write_push(source, part)
    return f"{_said(source)}: written to {folder}/\nnext: read {folder}/README.md, which is what others will read"


def _to_hub(asked: argparse.Namespace) -> str:
    where = asked.to.removeprefix(HUB)
    if not NAMED.fullmatch(where):
        raise ConfigError(f"--to {asked.to}: no name of a repository; allowed is {HUB}OWNER/NAME")
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if token is None:
        raise ConfigError(
            f"--to {asked.to}: there is no token for the hub; set HF_TOKEN to one that may write, or log in: "
            "hf auth login"
        )
    source = _source(asked)
    api = HfApi(token=token)
    is_new = _is_new(api, where, asked.public)
    from coldlm.experiment.push import write_push

    with TemporaryDirectory(prefix="coldlm.") as part:
        write_push(source, Path(part), where)
        with _told(where):
            if is_new:
                api.create_repo(where, private=not asked.public)
            done = api.upload_folder(
                repo_id=where, folder_path=part, commit_message=f"{_said(source)}, by coldlm push"
            )
    seen = "everybody may read it" if asked.public else "private"
    return f"{_said(source)}: pushed to {done.repo_url} ({seen})"


def _source(asked: argparse.Namespace) -> Source:
    from coldlm.experiment.push import find_source

    return find_source(asked.run, asked.stage)


def _said(source: Source) -> str:
    return f"{source.run.name}, weights of stage {source.stage}"


def _is_new(api: Any, where: str, public: bool) -> bool:
    """Return whether the repository has yet to be made.

    Raises:
        ConfigError: files are there already, or it is read by others than was said.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    with _told(where):
        try:
            found = api.model_info(where)
        except RepositoryNotFoundError:
            return True
    there = sorted({file.rfilename for file in found.siblings or ()} - EMPTY)
    if there:
        raise ConfigError(
            f"{HUB}{where} is there and not empty ({', '.join(there[:3])}): choose another --to; a push never mixes "
            "with what lies there"
        )
    if bool(found.private) == public:
        is_, wanted = ("private", "public") if public else ("public", "private")
        raise ConfigError(
            f"{HUB}{where} is there and {is_}, and a push makes no repository {wanted}: make it so on the hub, or "
            f"{'leave --public out' if public else 'say --public'}"
        )
    return False


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Say what the hub, or the way to it, has answered."""
    from huggingface_hub.errors import HfHubHTTPError

    network: Any = HfHubHTTPError.__mro__[1:3]  # of the client's own library, and of the system
    try:
        yield
    except network as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ColdlmError(
            f"{HUB}{where}: the hub did not do it ({'; '.join(lines[:2]) or type(error).__name__}); is the token one "
            "that may write there, and the network up?"
        ) from error
