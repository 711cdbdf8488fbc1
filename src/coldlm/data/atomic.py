"""RecBole's atomic files, the form in which that library keeps its forty-odd data sets.

| file | fields, by default |
|---|---|
| ``NAME.inter`` | ``user_id``, ``item_id``, ``timestamp``; a label, and ``query`` (words typed), if there are such |
| ``NAME.item`` (optional) | ``item_id``; any others are text |
| ``NAME.user`` (optional) | ``user_id``; any others are the profile |

Header cells are ``field:type``, see ``files/atomic.py``; other files of a set (``.kg``, ``.link``) are not
read. Sets without times cannot be cut in time, and are refused. RecBole's own copies of a source may
differ from it in texts and ids: results of the two are results of two data sets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.canonical.dataset import to_dataset
from coldlm.data.canonical.groups import missing_groups, user_groups
from coldlm.data.canonical.prepared import prepared_tables
from coldlm.data.canonical.reader import with_defaults_of
from coldlm.data.canonical.template import template_problems
from coldlm.data.files.atomic import (
    Names,
    inter_fields,
    missing_fields,
    read_header,
    read_tables,
    text_fields,
)
from coldlm.data.files.labels import unread_labels
from coldlm.data.files.raw import find_files, refuse, time_scale_problems
from coldlm.data.files.texts import text_columns

VERSION = 2

WAYS = (
    "dataset=atomic reads RecBole's atomic files: dataset.root=FOLDER that holds NAME.inter and, if "
    "there are such, NAME.item and NAME.user, or a folder NAME with them (dataset.name=NAME). RecBole's "
    "site links its sets in this form"
)


def load(
    *,
    root: str | None = None,
    name: str | None = None,
    text: str | None = None,
    profile: str | None = None,
    user: str = "user_id",
    item: str = "item_id",
    time: str = "timestamp",
    label: str | None = None,
    positive_from: float | None = None,
    repeats: bool = False,
    released_at: str | None = None,
    half_lives_days: list[float] = [1.0, 7.0, 30.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    groups: list[str] = [],  # noqa: B006  never changed
    cache: str = "cache",
) -> Dataset:
    """Return every interaction as an event.

    Args:
        root: the folder of the files, or the one in which the folder ``name`` lies.
        name: NAME of the files, and of the data set in every result row; may be left out where
            ``root`` holds one ``.inter`` file.
        text: template over the fields of ``.item``. By default all that are words, ``title`` first,
            joined by " | "; a field counts as words unless all its values are numbers.
        profile: template over the fields of ``.user``, by default all, joined by " | ".
        user, item, time: what these fields are called.
        label: the field of ``.inter`` with the label; ``label`` by default, if there is one.
        positive_from: a label of at least this is a positive. By default a label above 0 is, and
            without labels every event.
        repeats: whether a user may take an item again.
        released_at: the field of ``.item`` with the release (a year, Unix seconds, or an ISO date);
            ``released_at`` by default, if there is one. What is no time counts as unknown. Without
            such a field items enter after their first event.
        half_lives_days: of the decayed counts, three, ascending.
        item_ttl_days: how long an item stays a candidate.
        groups: fields of ``.user`` by whose values users are told apart in tables.

    Raises:
        DataError: see ``problems`` and ``files.atomic.read_tables``; no positive event.
    """
    keys = {
        "root": root, "name": name, "text": text, "profile": profile, "user": user, "item": item,
        "time": time, "label": label, "positive_from": positive_from, "released_at": released_at,
        "half_lives_days": half_lives_days, "item_ttl_days": item_ttl_days, "groups": groups,
    }  # fmt: skip
    refuse(problems(**keys))
    files = find(root or "", name)
    names = _names(files, Names(user, item, time, label, released_at))
    name = files[0].stem
    # the tables depend on what fields are called
    fields = hashlib.sha256(repr(names).encode()).hexdigest()[:8]
    tables, hashes = prepared_tables(
        f"atomic_{name}_{fields}",
        files,
        lambda: read_tables(files, names),
        version=VERSION,
        cache=Path(cache),
    )
    words = text_columns(tables.items, ["item_id", names.released_at])
    if not (text or words):
        # nothing can be said of these items
        words = ["text"]
        tables.items.insert_column(1, pl.lit("").alias("text"))
    labels = tables.interactions["label"].to_numpy()
    return to_dataset(
        tables,
        name=name,
        domain="atomic",
        text=text or " | ".join(f"{{{word}}}" for word in words),
        title=words[0] if words else "item_id",
        profile=profile,
        positive=labels > 0 if positive_from is None else labels >= positive_from,
        repeats=repeats,
        release="field" if names.released_at else "after_first",
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        hashes=hashes,
        groups=user_groups(tables.users, groups, files[-1]),
    )


@with_defaults_of(load)
def problems(
    *,
    root: str | None,
    name: str | None,
    text: str | None,
    profile: str | None,
    user: str,
    item: str,
    time: str,
    label: str | None,
    positive_from: float | None,
    released_at: str | None,
    half_lives_days: Sequence[float],
    item_ttl_days: float | None,
    groups: Sequence[str],
    **_: object,
) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting; reads the headers of the files,
    not their rows."""
    found = time_scale_problems(half_lives_days, item_ttl_days)
    if not root:
        return [*found, f"atomic: neither COLDLM_DATA nor dataset.root names a folder. {WAYS}"]
    files = find(root, name)
    if not files:
        return [*found, f"dataset.root={root}: {_not_found(Path(root), name)}. {WAYS}"]
    try:
        heads = {path.suffix: read_header(path) for path in files}
    except DataError as error:
        return [*found, str(error)]
    needs_label = label or positive_from is not None
    names = Names(user, item, time, (label or "label") if needs_label else None, released_at)
    found += missing_fields(files[0], heads[".inter"], inter_fields(names))
    if not needs_label and "label" not in heads[".inter"]:
        found += unread_labels(str(files[0]), list(heads[".inter"]))
    for suffix, own, template, key in (
        (".item", item, text, "text"),
        (".user", user, profile, "profile"),
    ):
        path = next((path for path in files if path.suffix == suffix), None)
        if path is None:
            asked = {
                f"dataset.{key}": template,
                "dataset.released_at": released_at if suffix == ".item" else None,
                "dataset.groups": groups if suffix == ".user" else None,
            }
            if wrong := next((name for name, value in asked.items() if value), None):
                found.append(f"{wrong}: there is no {files[0].with_suffix(suffix)}; leave it out")
            continue
        needed = {"dataset.item" if suffix == ".item" else "dataset.user": own}
        if suffix == ".item" and released_at:
            needed["dataset.released_at"] = released_at
        if suffix == ".user":
            found += missing_groups(list(heads[suffix]), groups, path)
        found += missing_fields(path, heads[suffix], needed)
        if template is not None:
            allowed = [f for f in text_fields(heads[suffix], own) if f != "released_at"]
            found += template_problems(template, allowed or [own], key=f"dataset.{key}")
    return found


def find(root: str, name: str | None) -> list[Path]:
    """Return ``NAME.inter`` and, as far as they are there, ``NAME.item`` and ``NAME.user``; [] without
    the first, or with several and no ``name``."""
    if name is None:
        inter = list(Path(root).glob("*.inter"))
        name = inter[0].stem if len(inter) == 1 else None
    if name is None:
        return []
    return find_files(Path(root), [name], [f"{name}.inter"], [f"{name}.item", f"{name}.user"])


def _not_found(root: Path, name: str | None) -> str:
    """Why there are no files."""
    if name is not None:
        return f"holds neither {name}.inter nor {name}/{name}.inter"
    there = sorted(path.stem for path in root.glob("*.inter"))
    if there:
        return f"holds {', '.join(there)}: say which one, dataset.name={there[0]}"
    return "holds no file that ends in .inter"


def _names(files: Sequence[Path], asked: Names) -> Names:
    """What the fields are called, those that are read wherever they are there among them."""
    heads = {path.suffix: read_header(path) for path in files}
    label = asked.label or ("label" if "label" in heads[".inter"] else None)
    is_there = "released_at" in heads.get(".item", {})
    released_at = asked.released_at or ("released_at" if is_there else None)
    return Names(asked.user, asked.item, asked.time, label, released_at)
