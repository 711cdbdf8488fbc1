"""The page of all configuration keys, made from ``conf/``, the schema and the signatures of what
the files name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from coldlm.config.schema import RunConfig
from coldlm.config.signatures import PACKAGE, Field, describe_type, fields_of, fields_of_dataclass

GLOBAL = "# @package _global_"
"""First line of the files that change keys of several groups: they are shown as they are."""

DOCUMENT = re.compile(r"^(claim|command|hardware|time|expected)$")


@dataclass(frozen=True)
class Key:
    """One key of a file: its dotted path below the group, its value as YAML has it, and what the
    file says of it."""

    path: str
    value: str
    comment: str


@dataclass(frozen=True)
class Option:
    """One file of a group. ``about``: the comment at its head. ``body``: the rest of the file."""

    name: str
    about: str
    body: str
    keys: list[Key] = field(default_factory=list)
    target: str | None = None
    is_global: bool = False


def make_page(conf: Path) -> str:
    """The whole page as Markdown."""
    primary = read_option(conf / "run.yaml", conf)
    groups = {
        folder.name: read_group(folder) for folder in sorted(conf.iterdir()) if folder.is_dir()
    }
    order = list(dict.fromkeys([*_defaults(conf / "run.yaml"), *groups]))
    lines = [
        _HEAD,
        "## The run itself {#run}",
        primary.about,
        *_table(primary.keys, "", known_of("", None), {}, None),
    ]
    for name in (name for name in order if name in groups):
        lines += _group(name, groups[name])
    return "\n\n".join(line for line in lines if line) + "\n"


def read_group(folder: Path) -> list[Option]:
    """Every option of a group, by name."""
    files = (file for file in sorted(folder.rglob("*.yaml")) if not file.name.startswith("_"))
    return [read_option(file, folder) for file in files]


def read_option(file: Path, root: Path) -> Option:
    """One file, with its keys in their order."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    is_global = bool(lines) and lines[0].strip() == GLOBAL
    head = lines[int(is_global) :]
    n_head = next((i for i, line in enumerate(head) if not line.startswith("#")), len(head))
    about = "\n".join(line.removeprefix("#").removeprefix(" ") for line in head[:n_head])
    body = "\n".join(head[n_head:]).strip()
    node = yaml.compose(text)
    keys = [] if node is None else list(_keys(node, lines, "", n_head + int(is_global)))
    target = next((key.value for key in keys if key.path == "_target_"), None)
    own = [key for key in keys if key.path != "_target_"]
    paths = {key.path for key in own}
    keys = own + [key for key in _shared(text, root.parent) if key.path not in paths]
    name = file.relative_to(root).with_suffix("").as_posix()
    return Option(name, about, body, keys, target, is_global)


def known_of(group: str, target: str | None) -> dict[str, Field]:
    """Dotted path -> what the schema, or the signature of the target, allows there."""
    try:
        if target is not None:
            return fields_of(target)
        if not group:
            return dict(_flat(RunConfig, ""))
        annotation = fields_of_dataclass(RunConfig)[group].annotation
        return dict(_flat(annotation, "")) if is_dataclass(annotation) else {}
    except (LookupError, TypeError):
        return {}


def told_by(target: str | None) -> dict[str, str]:
    """Key -> what the docstring of the target says of it under "Args:"."""
    if target is None:
        return {}
    module, _, name = target.rpartition(".")
    file = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    found = next(
        (
            node
            for node in (ast.parse(file.read_text(encoding="utf-8")).body if file.is_file() else [])
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
        ),
        None,
    )
    section = (ast.get_docstring(found) or "").partition("Args:\n")[2] if found else ""
    told: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if not line.startswith("    "):
            break
        start = re.match(r"^ {4}([a-z_]+(?:, [a-z_]+)*): (.*)", line)
        if start:
            names = start[1].split(", ")
            told |= dict.fromkeys(names, start[2])
        else:
            told |= {name: f"{told[name]} {line.strip()}" for name in names}
    return told


def without_type(conf: Path) -> list[str]:
    """Keys in the files of groups for which nothing says what they may hold; [] where all is
    well."""
    missing = [
        key.path
        for key in read_option(conf / "run.yaml", conf).keys
        if key.path not in known_of("", None)
    ]
    for folder in (folder for folder in sorted(conf.iterdir()) if folder.is_dir()):
        for option in read_group(folder):
            known = known_of(folder.name, option.target)
            missing += [
                f"{folder.name}/{option.name}: {key.path}"
                for key in option.keys
                if not option.is_global and key.path not in known
            ]
    return missing


def without_meaning(page: str) -> list[str]:
    """Keys of the page whose last cell is empty; [] where all is well."""
    return sorted(
        {line.split("`")[1] for line in page.splitlines() if re.search(r"^ *\| `.*\| +\|$", line)}
    )


def _shared(text: str, conf: Path) -> Iterator[Key]:
    """The keys of the files that a file of a group is made of (``/dataset/_files@_here_``)."""
    for entry in (yaml.safe_load(text) or {}).get("defaults", []):
        if isinstance(entry, str) and entry.endswith("@_here_"):
            file = conf / f"{entry.removesuffix('@_here_').strip('/')}.yaml"
            yield from read_option(file, file.parent).keys


def _keys(node: yaml.Node, lines: list[str], prefix: str, first: int) -> Iterator[Key]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        if path in ("defaults", "hydra"):
            continue
        above: list[str] = []
        line = key.start_mark.line - 1
        while line >= first and lines[line].strip().startswith("#"):
            above.insert(0, lines[line].strip().removeprefix("#").strip())
            line -= 1
        if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
            yield from _keys(value, lines, f"{path}.", first)
            continue
        end = value.end_mark if value.end_mark.line == key.start_mark.line else key.end_mark
        rest = lines[end.line][end.column :].lstrip(": ")
        inline = rest.removeprefix("#").strip() if rest.startswith("#") else ""
        yield Key(path, _shown(value, lines), " ".join(filter(None, [" ".join(above), inline])))


def _shown(value: yaml.Node, lines: list[str]) -> str:
    start, end = value.start_mark, value.end_mark
    if start.line == end.line:
        shown = lines[start.line][start.column : end.column]
        return (
            value.value if shown[:1] in "\"'" and value.value and "\n" not in value.value else shown
        )
    return str(yaml.safe_load(yaml.serialize(value)))


def _flat(cls: Any, prefix: str) -> Iterator[tuple[str, Field]]:
    for name, known in fields_of_dataclass(cls).items():
        if is_dataclass(known.annotation):
            yield from _flat(known.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", known


def _defaults(file: Path) -> list[str]:
    entries = yaml.safe_load(file.read_text(encoding="utf-8")).get("defaults", [])
    names = [next(iter(entry)) for entry in entries if isinstance(entry, dict)]
    return [name.removeprefix("optional ") for name in names if not name.startswith("override")]


def _group(name: str, options: list[Option]) -> list[str]:
    is_global = all(option.is_global for option in options)
    lines = [f"## {name} {{#{name}}}"]
    lines.append(
        f"`{name}=OPTION`, with "
        + ("keys of several groups." if is_global else f"keys below `{name}.`.")
        + f" {len(options)} options."
    )
    rows = [f"| [`{o.name}`](#{_anchor(name, o)}) | {_cell(_summary(o))} |" for o in options]
    lines.append("\n".join(["| option | what it is |", "|---|---|", *rows]))
    shared = {key.path: key.comment for option in options for key in option.keys if key.comment}
    for option in options:
        inner = _global(option) if option.is_global else _about(name, option, shared)
        lines.append(f'<span id="{_anchor(name, option)}"></span>')
        lines.append(f'??? note "{name}={option.name}"\n\n' + _indent("\n\n".join(inner)))
    return lines


def _about(group: str, option: Option, shared: Mapping[str, str]) -> list[str]:
    known = known_of(group, option.target)
    code = [f"Code: `{option.target}`"] if option.target else []
    if not option.keys:
        return [option.about, *code, "No keys."]
    return [option.about, *code, *_table(option.keys, f"{group}.", known, shared, option.target)]


def _global(option: Option) -> list[str]:
    """The head of an experiment as a list, of others as text; then the file."""
    items: list[str] = []
    for line in option.about.splitlines():
        word, _, rest = line.partition(" ")
        if DOCUMENT.match(word) and rest:
            items.append(f"- **{word}**: {rest.strip()}")
        elif items:
            items[-1] += f" {line.strip()}"
    about = "\n".join(items) if items else option.about.replace("\n", "  \n")
    return [about, f"```yaml\n{option.body}\n```"]


def _table(
    keys: list[Key],
    prefix: str,
    known: Mapping[str, Field],
    shared: Mapping[str, str],
    target: str | None,
) -> list[str]:
    told = told_by(target)
    rows = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    for key in keys:
        allowed = describe_type(known[key.path].annotation) if key.path in known else ""
        path = f"{prefix}{key.path}"
        meaning = key.comment or told.get(key.path) or shared.get(key.path) or ""
        cells = f"`{path}`", f"`{_clip(key.value)}`", allowed, meaning.replace("``", "`")
        rows.append(f"| {' | '.join(map(_cell, cells))} |")
    return ["\n".join(rows)]


def _summary(option: Option) -> str:
    first = option.about.splitlines()[0] if option.about else ""
    text = " ".join(option.about.splitlines())
    if first.startswith("claim"):
        return re.split(
            r"\s(?:command|hardware|time|expected) {2,}", first.removeprefix("claim").strip()
        )[0]
    return text if len(text) < 200 else first


def _anchor(group: str, option: Option) -> str:
    return f"{group}-{option.name.replace('/', '-')}"


def _clip(value: str) -> str:
    value = value.replace("\n", "\\n") or '""'
    return value if len(value) < 90 else f"{value[:87]}..."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())


_HEAD = """\
# All keys

Made from `conf/` and the code when this site is built: every group, every option, every key with its default, what
it may hold, and what the file says of it. `coldlm run --cfg job` shows the configuration that a command line makes;
[how the tree works](config.md) is a page of its own."""
