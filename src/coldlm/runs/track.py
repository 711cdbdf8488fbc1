"""What a run tells of itself while it goes on: points of series and headlines, once each, to
``metrics.csv`` and to whoever else was asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from coldlm.core.files import write_file
from coldlm.core.tracked import AXES, EPOCH, THOUSANDTHS, Tell

NAME = "metrics.csv"

Value = float | str


class Sink(Protocol):
    """Somebody who is told of a run besides its folder. ``name``: as in ``logger=NAME``. ``id``: of
    the run there."""

    name: str
    id: str

    def point(self, axis: str, at: float, values: Mapping[str, float]) -> None:
        """Take values at one place of an axis."""

    def headline(self, values: Mapping[str, Value]) -> None:
        """Take values that have no axis."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Take a table."""

    def picture(self, name: str, png: bytes) -> None:
        """Take a figure."""

    def model(self, file: Path) -> None:
        """Take trained weights."""

    def close(self, headline: Mapping[str, Value], *, failed: bool) -> str:
        """Write out what is pending; what the user may do with it, "" for nothing.

        Args:
            headline: all that was said of the run, also what an earlier start of it has told.
        """


class Track:
    """The series and headlines of one run. What its folder says was told before an interruption is
    not told again.

    Args:
        folder: of the run; None of a run of which nobody is told.
        sinks: told besides the folder.
        epochs: trained by the stages that are done.
    """

    def __init__(
        self, folder: Path | None = None, sinks: Iterable[Sink] = (), epochs: float = 0.0
    ) -> None:
        self.sinks, self.epochs = list(sinks), epochs
        self._file = MetricsFile(folder / NAME) if folder else None
        self._known: dict[str, Value] = self._file.headlines() if self._file else {}
        self._headline: dict[str, Value] = {}
        self._last = {axis: self._file.last(axis) if self._file else 0.0 for axis in AXES}

    def last(self, axis: str) -> float:
        """Return the last place of an axis that was told of, 0 before the first."""
        return self._last[axis]

    def point(self, axis: str, at: float, values: Mapping[str, float]) -> None:
        """Tell of one place of an axis, unless that, or a later one, was told before."""
        if self._file is None or at <= self._last[axis]:
            return
        self._last[axis] = at
        # before the others: a point that a kill cuts off is missing there, and never there twice
        self._file.write({axis: at, **values})
        for sink in self.sinks:
            sink.point(axis, at, values)

    def training(self, name: str) -> Tell:
        """Return what takes the values of a training that begins now, as keys of ``name``."""
        begin = self.epochs

        def tell(epochs: float, values: Mapping[str, float]) -> None:
            at = int((begin + epochs) * THOUSANDTHS + 1e-6) / THOUSANDTHS
            self.epochs = at
            self.point(EPOCH, at, {_key(name, key): value for key, value in values.items()})

        return tell

    def headline(
        self, values: Mapping[str, Value], more: Mapping[str, Value] | None = None
    ) -> None:
        """Tell of values without an axis that are new; ``more`` are for the folder alone."""
        self._headline |= values
        new = _changed(values, self._known)
        if self._file is not None and (rows := new | _changed(more or {}, self._known)):
            self._file.write(rows)
            self._known |= rows
        for sink in self.sinks if new else ():
            sink.headline(new)

    def close(self, *, failed: bool) -> list[str]:
        """Let every sink write out what is pending; what the user may do next."""
        sinks, self.sinks = self.sinks, []
        told = [sink.close(self._headline, failed=failed) for sink in sinks]
        return [text for text in told if text]


def _key(name: str, key: str) -> str:
    return key if "/" in key else f"{name}/{key}"


def _changed(values: Mapping[str, Value], before: Mapping[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in values.items() if before.get(key) != value}


class MetricsFile:
    """``metrics.csv``: a column per axis and key, a row per place of an axis; rows without a place
    are headlines. Each row is there once it is written; a row that a kill has torn is dropped."""

    def __init__(self, file: Path) -> None:
        self._file = file
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        lines = text[: text.rfind("\n") + 1]
        self._rows = list(csv.DictReader(io.StringIO(lines)))
        self._columns = list(csv.DictReader(io.StringIO(lines)).fieldnames or ())
        if lines != text:
            self._write_all()

    def last(self, axis: str) -> float:
        """Return the last place of an axis that has a row, 0 where there is none."""
        return max((float(row[axis]) for row in self._rows if row.get(axis)), default=0.0)

    def headlines(self) -> dict[str, Value]:
        """Return the last value of each key in rows without a place."""
        rows = [row for row in self._rows if not any(row.get(axis) for axis in AXES)]
        return {key: _value(text) for row in rows for key, text in row.items() if text}

    def write(self, values: Mapping[str, Value]) -> None:
        """Add a row."""
        row = {key: repr(v) if isinstance(v, float) else str(v) for key, v in values.items()}
        self._rows.append(row)
        if new := sorted(row.keys() - set(self._columns)):
            own = [axis for axis in AXES if axis in {*self._columns, *new}]
            self._columns = own + sorted({*self._columns, *new} - set(own))
            self._write_all()
            return
        with self._file.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _write_all(self) -> None:
        def write(part: Path) -> None:
            with part.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, self._columns)
                writer.writeheader()
                writer.writerows(self._rows)

        write_file(self._file, write)


def _value(text: str) -> Value:
    try:
        return float(text)
    except ValueError:
        return text
