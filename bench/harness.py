"""Fair comparisons on a busy machine: each side in its own process and environment, taking turns, timed in CPU seconds.

A bench script starts itself once per side (`--side NAME`); in that process it calls `serve(work)`. The parent calls
`compare`, which lets the sides take turns (one block of work each, again and again), so that other load strikes all of
them alike, and `print_table`: items per CPU second (median, smallest, largest), and the median of the rounds' ratios.

    sides = [Side("mxnet", mxnet_python(), __file__), Side("torch", sys.executable, __file__)]
    print_table(compare(sides, rounds=7), baseline="mxnet", unit="images")
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MXNET_SUBGRAPH_BACKEND": "NONE",
}


def mxnet_python() -> Path | None:
    """The interpreter that has MXNet: `$MXFACE_MXNET_PYTHON`, else `.venv-mxnet`; None where there is neither."""
    named = os.environ.get("MXFACE_MXNET_PYTHON")
    python = Path(named) if named else REPOSITORY / ".venv-mxnet" / "bin" / "python"
    return python if python.exists() else None


@dataclass(frozen=True)
class Side:
    """One contestant: `python script --side name arguments…`, in a process of its own with one thread."""

    name: str
    python: str | Path | None
    script: str | Path
    arguments: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.python), str(self.script), "--side", self.name, *self.arguments],
            env={**os.environ, **ONE_THREAD, **self.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


@dataclass(frozen=True)
class Block:
    """What one turn of one side took."""

    items: int
    cpu_s: float
    wall_s: float
    peak_rss_mb: float

    @property
    def rate(self) -> float:
        """Items per CPU second."""
        return self.items / self.cpu_s


def serve(work: Callable[[], int], *, warm_up: int = 2, cpu_s: Callable[[], float] = time.process_time) -> int:
    """In a side's process: answer every line on stdin with the cost of one `work()`, which returns its number of items.

    `cpu_s` reads the clock of CPU seconds; the usual one counts this process with its threads, but no child that runs
    on. Returns the exit status. Anything that `work` prints would break the protocol: log to stderr.
    """
    for _ in range(warm_up):
        work()
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), cpu_s()
        items = work()
        block = {
            "items": items,
            "cpu_s": cpu_s() - cpu,
            "wall_s": time.perf_counter() - wall,
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(block), flush=True)
    return 0


def compare(sides: Sequence[Side], *, rounds: int, one_at_a_time: bool = False) -> dict[str, list[Block]]:
    """Let the sides take turns; a side without an interpreter is left out with a line on stderr.

    `one_at_a_time` where memory does not hold all of them: a turn is a process of its own, warmed up anew.
    """
    for side in sides:
        if side.python is None:
            print(f"{side.name}: left out, no interpreter for it here", file=sys.stderr)
    sides = [side for side in sides if side.python is not None]
    if not one_at_a_time:
        return _take_turns(sides, rounds)
    blocks: dict[str, list[Block]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            blocks[side.name] += _take_turns([side], 1)[side.name]
    return blocks


def _take_turns(sides: Sequence[Side], rounds: int) -> dict[str, list[Block]]:
    processes = {}
    try:
        for side in sides:
            processes[side.name] = side.start()
        for name, process in processes.items():
            _answer(name, process)
        blocks: dict[str, list[Block]] = {name: [] for name in processes}
        for _ in range(rounds):
            for name, process in processes.items():
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
                blocks[name].append(Block(**_answer(name, process)))
        return blocks
    finally:
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def ratio(blocks: Mapping[str, Sequence[Block]], name: str, baseline: str) -> float:
    """How many times faster than the baseline: the median of the ratios round by round."""
    return statistics.median(
        ours.rate / theirs.rate for ours, theirs in zip(blocks[name], blocks[baseline], strict=True)
    )


def print_table(blocks: Mapping[str, Sequence[Block]], *, baseline: str, unit: str, title: str = "") -> None:
    """One line a side: items per CPU second (median, smallest, largest), times the baseline, peak memory."""
    if title:
        print(title)
    print(f"{'side':<24} {unit + '/cpu-s':>14} {'smallest':>10} {'largest':>10} {'x ' + baseline:>12} {'peak MB':>8}")
    for name, turns in blocks.items():
        rates = [turn.rate for turn in turns]
        times = f"{ratio(blocks, name, baseline):.2f}" if baseline in blocks else "-"
        print(
            f"{name:<24} {statistics.median(rates):>14.2f} {min(rates):>10.2f} {max(rates):>10.2f} {times:>12}"
            f" {max(turn.peak_rss_mb for turn in turns):>8.0f}"
        )


def _answer(name: str, process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"side {name} ended early with status {process.wait()}; its own message is above")
    return json.loads(line)  # type: ignore[no-any-return]
