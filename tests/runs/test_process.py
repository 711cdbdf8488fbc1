"""What is said of the process that carries out a run."""

from __future__ import annotations

from coldlm.runs.process import peak_memory_mb, process_facts


def test_the_machine_is_described_without_its_paths() -> None:
    said = process_facts()
    assert said["versions"].keys() >= {"python", "torch", "transformers", "polars"}
    assert all(said["versions"].values())
    assert said["threads"] >= 1
    assert 50 < peak_memory_mb() < 100_000
