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

from coldlm.config.options import KINDS
from coldlm.config.schema import RunConfig
from coldlm.config.signatures import PACKAGE, Field, describe_type, fields_of, fields_of_dataclass

PACKAGE_LINE = "# @package "
"""Begins the first line of the files whose keys stand elsewhere than below their group."""

GLOBAL = f"{PACKAGE_LINE}_global_"
"""First line of the files that change keys of several groups: they are shown as they are."""

BASE = "_base"
"""The file of a group that others of it begin with."""

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
    """One file of a group. ``about``: the comment at its head. ``body``: the rest of the file.
    ``parts``: group inside this one -> its option. ``package``: below which its keys stand, "" for
    the group."""

    name: str
    about: str
    body: str
    keys: list[Key] = field(default_factory=list)
    target: str | None = None
    is_global: bool = False
    parts: dict[str, str] = field(default_factory=dict)
    package: str = ""


def make_page(conf: Path) -> str:
    """The whole page as Markdown."""
    primary = read_option(conf / "run.yaml", conf)
    groups = read_groups(conf)
    first = _defaults(conf / "run.yaml")
    first = [name for group in first for name in groups if name.partition("/")[0] == group]
    order = list(dict.fromkeys([*first, *groups]))
    lines = [
        _HEAD,
        "## The run itself {#run}",
        primary.about,
        *_table(primary.keys, "", known_of("", None), {}, None),
    ]
    for name in (name for name in order if name in groups):
        lines += _group(name, groups[name])
    return "\n\n".join(line for line in lines if line) + "\n"


def read_groups(conf: Path) -> dict[str, list[Option]]:
    """Every group and its options; a group inside another (``online/trigger``) behind that."""
    groups: dict[str, list[Option]] = {}
    for folder in sorted(folder for folder in conf.iterdir() if folder.is_dir()):
        inner = [sub for sub in sorted(folder.iterdir()) if f"{folder.name}/{sub.name}" in KINDS]
        for each in (folder, *inner):
            files = sorted(each.rglob("*.yaml"))
            groups[each.relative_to(conf).as_posix()] = [
                read_option(file, each)
                for file in files
                if not file.name.startswith("_") and (each != folder or file.parent not in inner)
            ]
    return groups


def read_option(file: Path, root: Path) -> Option:
    """One file, with its keys in their order."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    first = lines[0].strip() if lines else ""
    is_global, is_elsewhere = first == GLOBAL, first.startswith(PACKAGE_LINE)
    head = lines[int(is_elsewhere) :]
    n_head = next((i for i, line in enumerate(head) if not line.startswith("#")), len(head))
    about = "\n".join(line.removeprefix("#").removeprefix(" ") for line in head[:n_head])
    body = "\n".join(head[n_head:]).strip()
    node = yaml.compose(text)
    keys = [] if node is None else list(_keys(node, lines, "", n_head + int(is_elsewhere)))
    target = next((key.value for key in keys if key.path == "_target_"), None)
    own = [key for key in keys if key.path != "_target_"]
    paths = {key.path for key in own}
    keys = own + [key for key in _shared(text, root) if key.path not in paths]
    name = file.relative_to(root).with_suffix("").as_posix()
    package = first.removeprefix(PACKAGE_LINE) if is_elsewhere and not is_global else ""
    return Option(name, about, body, keys, target, is_global, _parts(file), package)


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
    for group, options in read_groups(conf).items():
        for option in options:
            known = known_of(group, option.target)
            missing += [
                f"{group}/{option.name}: {key.path}"
                for key in option.keys
                if not option.is_global and key.path not in known
            ]
    return missing


def without_meaning(page: str) -> list[str]:
    """Keys of the page whose last cell is empty; [] where all is well."""
    return sorted(
        {line.split("`")[1] for line in page.splitlines() if re.search(r"^ *\| `.*\| +\|$", line)}
    )


def _parts(file: Path) -> dict[str, str]:
    """The options of the groups inside that a file of a group is made of."""
    parts: dict[str, str] = {}
    for entry in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("defaults", []):
        if entry == BASE:
            parts |= _parts(file.with_name(f"{BASE}.yaml"))
        elif isinstance(entry, dict):
            named = {str(key).removeprefix("override "): str(entry[key]) for key in entry}
            inside = (f"{file.parent.name}/{name}" for name in named)
            parts |= {g: o for g, o in zip(inside, named.values(), strict=True) if g in KINDS}
    return parts


def _shared(text: str, folder: Path) -> Iterator[Key]:
    """The keys of the files that a file of a group is made of: of another folder
    (``/dataset/_files@_here_``), or of its own."""
    conf = folder.parent
    for entry in (yaml.safe_load(text) or {}).get("defaults", []):
        if entry == BASE:
            yield from read_option(folder / f"{BASE}.yaml", folder).keys
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
    path = name.replace("/", ".")
    lines = [f"## {name} {{#{name.replace('/', '-')}}}"]
    lines.append(
        f"`{name}=OPTION`, with "
        + ("keys of several groups." if is_global else f"keys below `{path}.`.")
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
    links = [f"[`{g}={o}`](#{g.replace('/', '-')}-{o})" for g, o in option.parts.items()]
    code += [f"Made of {', '.join(links)}."] if links else []
    if not option.keys:
        return [option.about, *code, "No keys."]
    path = option.package or group.replace("/", ".")
    return [option.about, *code, *_table(option.keys, f"{path}.", known, shared, option.target)]


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
    return f"{group}-{option.name}".replace("/", "-")


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
