"""The frame of a reader: what a module says of its data set, and the one way from its keys to a
``Dataset``.

```
keys --problems--> [] --find--> raw files --read, once--> Tables (kept) --to_dataset--> Dataset
```
A reader's module holds its parsing, ``find`` and ``read``, and hands both to a ``Reader``, which
does what is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from inspect import signature
from pathlib import Path

from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables
from coldlm.data.canonical.dataset import to_dataset
from coldlm.data.canonical.dated import DatedField
from coldlm.data.canonical.prepared import prepared_tables
from coldlm.data.canonical.remembered import remembered
from coldlm.data.canonical.template import fields, template_problems
from coldlm.data.files.raw import hash_files, refuse, time_scale_problems

Problems = Callable[..., list[str]]


def nothing(text: str, root: Path | None) -> list[str]:
    """Say that nothing else is wrong; see ``Reader.further``."""
    return []


@dataclass(frozen=True)
class Reader:
    """A data set whose edition, category or whatever else its keys choose between is chosen.

    ``name``: in every result row. Tables are kept under it, so it tells all that ``read`` depends
    on beside the files.
    ``domain``, ``title``, ``repeats``, ``release``, ``dated``: see ``to_dataset``. ``version``:
    raise it whenever ``read`` reads a file differently. ``fields``: what a template may use;
    ``banned``: what it may not, since it was written later than the events -> what it is. ``find``:
    data folder -> the raw files; [] unless all that are needed are there. ``read``: these files ->
    tables. ``wanted``: what ``find`` looks for and where, behind "holds no ..."; "" where
    ``further`` says it. ``ways``: how to get it. ``further``: template and data folder -> what else
    is wrong.
    """

    name: str
    domain: str
    version: int
    fields: Sequence[str]
    title: str
    find: Callable[[Path], list[Path]]
    read: Callable[[Sequence[Path]], Tables]
    ways: str
    wanted: str = ""
    repeats: bool = False
    release: str = "after_first"
    banned: Mapping[str, str] = field(default_factory=dict)
    dated: Mapping[str, DatedField] = field(default_factory=dict)
    further: Callable[[str, Path | None], list[str]] = nothing

    def problems(
        self,
        *,
        root: str | None,
        text: str,
        half_lives_days: Sequence[float],
        item_ttl_days: float | None,
        **_: object,
    ) -> list[str]:
        """Return what keeps ``load`` with the same keys from starting, without opening a file; []
        if nothing does."""
        found = template_problems(text, self.fields, self.banned) + time_scale_problems(
            half_lives_days, item_ttl_days
        )
        if not root:
            found.append(
                f"{self.name}: neither COLDLM_DATA nor dataset.root names a folder. {self.ways}"
            )
        elif self.wanted and not self.find(Path(root)):
            found.append(f"dataset.root={root}: holds no {self.wanted}. {self.ways}")
        return found + self.further(text, Path(root) if root else None)

    def load(
        self,
        *,
        root: str | None,
        text: str,
        half_lives_days: Sequence[float],
        item_ttl_days: float | None,
        cache: str,
        positive_from: float | None = None,
    ) -> Dataset:
        """Return the data set.

        Args:
            positive_from: a label of at least this is a positive; by default every event is one.

        Raises:
            DataError: see ``problems``; whatever ``read`` refuses.
        """
        refuse(
            self.problems(
                root=root, text=text, half_lives_days=half_lives_days, item_ttl_days=item_ttl_days
            )
        )
        files = self.find(Path(root or ""))

        def read() -> Dataset:
            tables, hashes = prepared_tables(
                self.name, files, lambda: self.read(files), version=self.version, cache=Path(cache)
            )
            shown = {*fields(text), self.title}
            return to_dataset(
                tables,
                name=self.name,
                domain=self.domain,
                text=text,
                title=self.title,
                positive=None
                if positive_from is None
                else tables.interactions["label"].to_numpy() >= positive_from,
                repeats=self.repeats,
                release=self.release,
                half_lives_days=half_lives_days,
                item_ttl_days=item_ttl_days,
                # without them in the template, texts do not change
                dated={name: rule for name, rule in self.dated.items() if name in shown},
                hashes=hashes,
            )

        said = [self.name, self.version, self.domain, self.title, self.repeats, self.release]
        keys = [text, half_lives_days, item_ttl_days, positive_from]
        return remembered([*said, *keys, hash_files(files)], read)


def with_defaults_of(load: Callable[..., Dataset]) -> Callable[[Problems], Problems]:
    """Decorate the ``problems`` of a reader: keys that are left out are those of ``load``, where
    they stand once."""
    defaults = {name: parameter.default for name, parameter in signature(load).parameters.items()}

    def decorate(problems: Problems) -> Problems:
        @wraps(problems)
        def filled(**keys: object) -> list[str]:
            return problems(**{**defaults, **keys})

        return filled

    return decorate
