"""The cores of a machine and of a container."""

from __future__ import annotations

from pathlib import Path

from mxface.cpus import quota_cpus, usable_cpus


def test_cpus_of_a_container(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert quota_cpus(tmp_path / "cpu.max") == 2
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert quota_cpus(tmp_path / "cpu.max") == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert quota_cpus(tmp_path / "cpu.max") is None
    assert quota_cpus(tmp_path / "nothing") is None
    assert usable_cpus() >= 1
