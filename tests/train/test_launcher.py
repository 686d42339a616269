"""Ranks of one command: how they are started, how they end, and what is said when one of them does not end well.

The command here is this file, run as a script: what a rank does is its argument.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import REPOSITORY

from mxface.errors import ConfigError, RankError
from mxface.train.launcher import launch, same_command
from mxface.train.process_group import find_place

psutil = pytest.importorskip("psutil", reason="psutil is not installed here")
WAIT_S = 60


def be_a_rank(deed: str) -> int:
    """`deed` on rank 1, which the others wait for; the exit status."""
    from mxface.train.guard import StopSignals
    from mxface.train.launcher import telling_the_launcher
    from mxface.train.process_group import joined

    place = find_place()
    assert place is not None
    import torch

    with telling_the_launcher(), joined(place, torch.device("cpu"), timeout_s=4) as ranks, StopSignals(ranks) as stop:
        Path(f"rank{place.rank}").write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']} {place.local_count}")
        if deed == "refuse together":
            raise ConfigError("what all ranks say")
        if place.rank == 1:
            if deed == "refuse":
                raise ConfigError("what one rank says")
            if deed == "fall":
                raise KeyError("a defect")
            if deed == "be killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if deed == "hang":
                time.sleep(600)
        ranks.barrier()
        while deed == "train" and stop.received is None:
            stop.begin_agreement()
            time.sleep(0.01)
            stop.agree()
        Path(f"saved{place.rank}").touch()
        return 128 + stop.received if stop.received else 0
    return 1


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


def command(deed: str) -> list[str]:
    return [sys.executable, "-u", __file__, deed]


def test_ranks_that_end_well() -> None:
    assert launch(command("end"), 2) == 0
    written = [Path(f"rank{rank}").read_text().split()[1:] for rank in range(2)]
    assert written == [[str(max(1, len(os.sched_getaffinity(0)) // 2)), "2"]] * 2
    assert [Path(f"saved{rank}").exists() for rank in range(2)] == [True, True]


@pytest.mark.parametrize(
    ("deed", "sentence"),
    [
        ("refuse together", "what all ranks say$"),
        ("refuse", "rank 1 of 2: what one rank says$"),
        ("fall", r"rank 1 of 2 ended with exit status 1 \(its own words are above\); the last saved state is whole"),
        ("be killed", r"rank 1 of 2 was killed by SIGKILL \(as the system does when memory runs out\); .*--resume"),
        ("hang", r"rank 1 does not answer; rank 0 of 2: another rank ended, or was silent for 4 s \(.*--resume"),
    ],
)
def test_ranks_that_end_badly(deed: str, sentence: str) -> None:
    with pytest.raises(RankError, match=f"^{sentence}"):
        launch(command(deed), 2)
    assert not any(psutil.pid_exists(int(Path(f"rank{rank}").read_text().split()[0])) for rank in range(2))


LAUNCHER = """
import sys
from mxface.train.launcher import launch
sys.exit(launch(sys.argv[1:], 2))
"""


@pytest.fixture
def launcher(workplace: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with two ranks that train until they are stopped."""
    process = subprocess.Popen([sys.executable, "-c", LAUNCHER, *command("train")], cwd=workplace)
    deadline = time.monotonic() + WAIT_S
    while not all((workplace / f"rank{rank}").exists() for rank in range(2)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)  # until both are in their loop
    yield process
    process.kill()
    process.wait()


def rank_processes(workplace: Path) -> list[Any]:
    return [psutil.Process(int((workplace / f"rank{rank}").read_text().split()[0])) for rank in range(2)]


def test_a_signal_is_passed_on_once(launcher: subprocess.Popen[bytes], workplace: Path) -> None:
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(WAIT_S) == 128 + signal.SIGINT
    assert [(workplace / f"saved{rank}").exists() for rank in range(2)] == [True, True]


def test_ranks_save_and_end_with_their_launcher(launcher: subprocess.Popen[bytes], workplace: Path) -> None:
    ranks = rank_processes(workplace)
    launcher.kill()
    _, alive = psutil.wait_procs(ranks, timeout=WAIT_S)
    assert not alive
    assert [(workplace / f"saved{rank}").exists() for rank in range(2)] == [True, True]


def test_the_second_signal_ends_them_at_once(launcher: subprocess.Popen[bytes], workplace: Path) -> None:
    ranks = rank_processes(workplace)
    ranks[1].suspend()  # so that they cannot end together
    for _ in range(2):
        launcher.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    assert launcher.wait(WAIT_S) == 128 + signal.SIGTERM
    assert not any(rank.is_running() for rank in ranks)


def test_the_command_is_started_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "-u", "train.py", "--ranks", "2"])
    assert same_command(None, "mxface.recognition.train") == [sys.executable, "-u", "train.py", "--ranks", "2"]
    assert same_command(["--ranks", "2"], "a.module") == [sys.executable, "-m", "a.module", "--ranks", "2"]


if __name__ == "__main__":
    sys.exit(be_a_rank(sys.argv[1]))
