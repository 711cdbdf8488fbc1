"""A run as an event file of TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coldlm.core.tracked import whole
from coldlm.learn.sinks.about import About

HEADLINES = ("online/all/ndcg@10", "test/all/ndcg@10")
"""Metrics of the HParams tab, as far as a run has them."""


COLOURS = 4
"""RGBA, as TensorBoard numbers what a picture holds."""


class EventFile:
    """One event file per start of a run; those of one run lie in one folder, which TensorBoard
    reads as one run. The step of a series is its place on its axis, epochs in thousandths."""

    name, id = "tensorboard", ""

    def __init__(self, about: About) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._config = about.config
        self._writer = SummaryWriter(str(about.folder / "tensorboard"))

    def point(self, axis: str, at: float, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, whole(axis, at))
        self._writer.flush()  # a kill would take what waits

    def headline(self, values: Mapping[str, float | str]) -> None:
        for key, value in values.items():
            if isinstance(value, str):
                self._writer.add_text(key, value, 0)
            else:
                self._writer.add_scalar(key, value, 0)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        lines = [columns, ["---"] * len(columns), *(map(_cell, row) for row in rows)]
        self._writer.add_text(name, "\n".join(f"| {' | '.join(line)} |" for line in lines), 0)

    def picture(self, name: str, png: bytes) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
        image = Summary.Image(
            encoded_image_string=png, width=width, height=height, colorspace=COLOURS
        )
        self._add(Summary(value=[Summary.Value(tag=name, image=image)]))

    def _add(self, summary: Any) -> None:
        # the writer's own methods know neither an image that is encoded nor the HParams tab
        self._writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]

    def model(self, file: Path) -> None:
        """Leave it where it is: event files hold no weights."""

    def close(self, headline: Mapping[str, float | str], *, failed: bool) -> str:
        from torch.utils.tensorboard.summary import hparams

        if not failed:
            metrics = {key: headline[key] for key in HEADLINES if key in headline}
            # add_hparams would begin another file
            for part in hparams(dict(self._config), metrics):  # type: ignore[no-untyped-call]
                self._add(part)
        self._writer.close()
        return ""


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
