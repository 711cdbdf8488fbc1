"""What the site takes from the code while it is built: keys, floors, commands, studies; and links
out of ``docs/``."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import config_page
import layers_page
from mkdocs.structure.files import File

REPO = Path(__file__).parents[1]

MARK = re.compile(r"^<!-- made: (\w+) -->$", re.M)
"""Where a page wants something that is made."""

LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
"""A Markdown link to a file; addresses and anchors of the same page are none."""


MADE_OF = {"conf": "docs/guide/reference.md", "studies": "docs/studies/index.md"}
"""Folders that pages link to -> the page that is made of each; without the site there is the folder
alone."""

NO_PAGES = {".py", ".yaml", ".csv", ".parquet"}
"""Suffixes of what lies in ``docs/`` and is no part of the site."""


def on_config(config: Any) -> Any:
    """Put every study into the navigation."""
    pages = [f"studies/{file.parent.name}.md" for file in find_studies()]
    for entry in config["nav"]:
        if "Studies" in entry:
            entry["Studies"] = ["studies/index.md", *pages]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that no file of ``docs/`` holds, and the pictures of the studies."""
    pages = {"guide/reference.md": make_reference(), "studies/index.md": make_studies()}
    pages |= {
        f"studies/{file.parent.name}.md": file.read_text(encoding="utf-8")
        for file in find_studies()
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for study in find_studies():
        for picture in study.parent.glob("*.png"):
            path = f"studies/{study.parent.name}/{picture.name}"
            files.append(File.generated(config, path, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in what is made, and point links that leave the site at the repository."""
    markdown = MARK.sub(lambda found: MADE[found[1]](), markdown)
    place = PurePosixPath("docs") / page.file.src_uri
    study = REPO / "studies" / place.stem
    # a study's page lies beside its folder, and its text speaks from inside
    folder = (
        PurePosixPath("studies", place.stem)
        if place.parent.name == "studies" and study.is_dir()
        else place.parent
    )

    def outward(found: re.Match[str]) -> str:
        target = os.path.normpath(folder / found[2])
        if made := MADE_OF.get(target):
            return f"{found[1]}{os.path.relpath(made, place.parent)}{found[3]}"
        is_page = target.startswith("docs/") and Path(target).suffix not in NO_PAGES
        if is_page and folder == place.parent:
            return found[0]
        if is_page:
            return f"{found[1]}{os.path.relpath(target, place.parent)}{found[3]}"
        if target.startswith("studies/") and target.endswith(".png"):
            return f"{found[1]}{os.path.relpath(f'docs/{target}', place.parent)}{found[3]}"
        if re.fullmatch(r"studies/\w+/README.md", target):
            return f"{found[1]}{os.path.relpath(f'docs/{os.path.dirname(target)}.md', place.parent)}{found[3]}"
        if not (REPO / target).exists():
            return found[0]
        kind = "tree" if (REPO / target).is_dir() else "blob"
        return f"{found[1]}{config['extra']['source']}/{kind}/main/{target}{found[3]}"

    return LINK.sub(outward, markdown)


def find_studies() -> list[Path]:
    """What every study says of itself."""
    return sorted((REPO / "studies").glob("*/README.md"))


def make_reference() -> str:
    return config_page.make_page(REPO / "conf")


def make_picture() -> str:
    return layers_page.make_picture(layers_page.read_tables(REPO / "tests")[0])


def make_layers() -> str:
    return layers_page.make_table(*layers_page.read_tables(REPO / "tests"))


def make_commands() -> str:
    """What every command says of itself; of ``run`` the page of all keys says more."""
    from coldlm.cli import COMMANDS, HELP

    parts = [f"```text\n{HELP}```"]
    for name in COMMANDS:
        said = (
            "See [all keys](reference.md)." if name == "run" else f"```text\n{_ask_help(name)}```"
        )
        parts.append(f"## coldlm {name} {{#{name}}}\n\n{said}")
    return "\n\n".join(parts)


def make_studies() -> str:
    """Every study's name and its first paragraph."""
    head = (
        "# Studies\n\nOne folder per study in `studies/`: the claim, the command, hardware, "
        "time, table and findings."
    )
    parts = [head]
    for file in find_studies():
        title, _, body = file.read_text(encoding="utf-8").partition("\n")
        first = next(
            (
                part
                for part in body.split("\n\n")
                if part.strip() and not part.startswith(("#", "!", "|"))
            ),
            "",
        )
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", first.strip())
        parts.append(f"## [{title.lstrip('# ')}]({file.parent.name}.md)\n\n{plain}")
    if len(parts) == 1:
        parts.append("There is none in this checkout.")
    return "\n\n".join(parts) + "\n"


def _ask_help(command: str) -> str:
    os.environ["COLUMNS"] = "110"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        importlib.import_module(f"coldlm.commands.{command}").main(["--help"])
    return said.getvalue().replace(str(Path.home()), "~")


MADE: dict[str, Callable[[], str]] = {
    "floors_picture": make_picture,
    "floors_table": make_layers,
    "commands": make_commands,
}
