"""How many processor cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

# A container's limit, cgroup v2: "quota period" in microseconds, or "max period".
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")

MOST_WORKERS = 1024
"""Processes or threads that one may ask for: more are a typing error, which would bring the machine down."""


def usable_cpus() -> int:
    """The cores that the process may run on, or as many as its container's share of time amounts to; at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, quota_cpus(CPU_QUOTA) or cpus))


def quota_cpus(path: Path) -> int | None:
    """Whole cores of the quota in this file; None where there is no quota."""
    try:
        quota, period = path.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, int(quota) // int(period))
