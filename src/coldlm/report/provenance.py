"""Where each row comes from: command, configuration, code, data and machine of the runs behind it."""

from __future__ import annotations

from coldlm.report.rows import Comparison
from coldlm.report.table import DOES_NOT_APPLY, Table
from coldlm.runs.manifest import Manifest


def provenance_table(comparison: Comparison) -> Table:
    """Return one line per run. Baselines have no run of their own: every run repeats them."""
    header = (
        "scorer", "seed", "run", "config hash", "data hash", "commit", "hardware", "command",
    )  # fmt: skip
    data = ", ".join(value[:12] for value in (comparison.manifests[0].data.hashes or {}).values())
    body, kinds = [], []
    for manifest in comparison.manifests:
        kind, names = _rows_of(manifest, comparison)
        cells = (
            names,
            str(manifest.axes.get("seed", DOES_NOT_APPLY)),
            manifest.run or DOES_NOT_APPLY,
            manifest.config_hash,
            data or DOES_NOT_APPLY,
            manifest.commit or "unknown",
            _hardware(manifest),
            manifest.command or "not stored",
        )
        body.append(cells)
        kinds.append(kind)
    return Table("How each row was made", header, tuple(body), tuple(kinds))


def data_hashes(comparison: Comparison) -> list[tuple[str, str]]:
    """Return (file, sha256) of the raw data, which all runs of a comparison share."""
    return list((comparison.manifests[0].data.hashes or {}).items())


def _rows_of(manifest: Manifest, comparison: Comparison) -> tuple[str, str]:
    """Kind and names of the rows that a run is behind: ``lora: history, per_window``."""
    behind = [row for row in comparison.rows if any(its is manifest for its in row.manifests)]
    schedules: dict[str, list[str]] = {}
    for row in behind:
        schedules.setdefault(row.label, []).append(row.schedule)
    names = "; ".join(f"{label}: {', '.join(its)}" for label, its in schedules.items())
    return (behind[0].kind if behind else "strategy"), names or DOES_NOT_APPLY


def _hardware(manifest: Manifest) -> str:
    threads = manifest.threads
    of = "" if threads is None else f", {threads} thread{'s' * (threads > 1)}"
    return f"{manifest.device or 'unknown'}{of}"
