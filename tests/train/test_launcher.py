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

import pytest
from tests.support import REPOSITORY
from tests.support.processes import PATIENCE_S, is_running, needs_proc, wait_until, wait_until_gone

from mxface.cpus import usable_cpus
from mxface.errors import ConfigError, RankError
from mxface.train.launcher import launch, same_command
from mxface.train.process_group import find_place

pytestmark = needs_proc
SILENCE_S = 8.0
"""After which a rank is given up by the others, once all have met."""


def be_a_rank(deed: str) -> int:
    """`deed` on rank 1, which the others wait for; the exit status."""
    from mxface.train.guard import StopSignals
    from mxface.train.launcher import telling_the_launcher
    from mxface.train.process_group import joined

    place = find_place()
    assert place is not None
    import torch

    timeout_s = SILENCE_S if deed == "hang" else PATIENCE_S
    tell("imported", place.rank)
    wait_until(lambda: both_told("imported"), "two ranks")  # which may take one of them long
    with (
        telling_the_launcher(),
        joined(place, torch.device("cpu"), timeout_s=timeout_s) as ranks,
        StopSignals(ranks) as stop,
    ):
        tell("rank", place.rank, f"{os.getpid()} {os.environ['OMP_NUM_THREADS']} {place.local_count}")
        wait_until(lambda: both_told("rank"), "two ranks that have joined")  # before one of them leaves the others
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
            tell("training", place.rank)
            time.sleep(0.01)
            stop.agree()
        Path(f"saved{place.rank}").touch()
        return 128 + stop.received if stop.received else 0
    return 1


def tell(what: str, rank: int, text: str = "") -> None:
    """A file of the rank, there with its text or not at all."""
    written = Path(f".{what}{rank}.tmp")
    written.write_text(text)
    written.rename(f"{what}{rank}")


def both_told(what: str) -> bool:
    """Whether both ranks have."""
    return all(Path(f"{what}{rank}").exists() for rank in range(2))


def rank_pids() -> list[int]:
    """Of ranks that have begun."""
    return [int(Path(f"rank{rank}").read_text().split()[0]) for rank in range(2)]


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
    assert written == [[str(max(1, usable_cpus() // 2)), "2"]] * 2
    assert both_told("saved")


@pytest.mark.parametrize(
    ("deed", "sentence"),
    [
        ("refuse together", "what all ranks say$"),
        ("refuse", "rank 1 of 2: what one rank says$"),
        ("fall", r"rank 1 of 2 ended with exit status 1 \(its own words are above\); the last saved state is whole"),
        ("be killed", r"rank 1 of 2 was killed by SIGKILL \(as the system does when memory runs out\); .*--resume"),
        ("hang", r"rank 1 does not answer; rank 0 of 2: another rank ended, or was silent for 8 s \(.*--resume"),
    ],
)
def test_ranks_that_end_badly(deed: str, sentence: str) -> None:
    with pytest.raises(RankError, match=f"^{sentence}"):
        launch(command(deed), 2)
    assert not any(is_running(pid) for pid in rank_pids())


LAUNCHER = """
import subprocess, sys
from pathlib import Path
from mxface.train.launcher import launch

class Rank(subprocess.Popen):
    def send_signal(self, number):
        super().send_signal(number)
        Path("passed_on").touch()

subprocess.Popen = Rank
sys.exit(launch(sys.argv[1:], 2))
"""


@pytest.fixture
def launcher() -> Iterator[subprocess.Popen[bytes]]:
    """A process with two ranks that train until they are stopped."""
    process = subprocess.Popen([sys.executable, "-c", LAUNCHER, *command("train")])
    try:
        wait_until(lambda: process.poll() is not None or both_told("training"), "two ranks at work")
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_signal_is_passed_on_once(launcher: subprocess.Popen[bytes]) -> None:
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(PATIENCE_S) == 128 + signal.SIGINT
    assert both_told("saved")


def test_ranks_save_and_end_with_their_launcher(launcher: subprocess.Popen[bytes]) -> None:
    launcher.kill()
    wait_until_gone(rank_pids())
    assert both_told("saved")


def test_the_second_signal_ends_them_at_once(launcher: subprocess.Popen[bytes]) -> None:
    pids = rank_pids()
    os.kill(pids[1], signal.SIGSTOP)  # so that they cannot end together
    launcher.send_signal(signal.SIGTERM)
    # two signals that a process has not looked at yet are one
    wait_until(lambda: Path("passed_on").exists(), "the first signal being passed on")
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert not any(is_running(pid) for pid in pids)


def test_the_command_is_started_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "-u", "train.py", "--ranks", "2"])
    assert same_command(None, "mxface.recognition.train") == [sys.executable, "-u", "train.py", "--ranks", "2"]
    assert same_command(["--ranks", "2"], "a.module") == [sys.executable, "-m", "a.module", "--ranks", "2"]


if __name__ == "__main__":
    sys.exit(be_a_rank(sys.argv[1]))
