"""Ranks that wait for the work of one of them: however long it takes, but not for one that is gone.

The command here is this file, run as a script: what a rank does at work is its argument.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support import REPOSITORY
from tests.support.processes import needs_proc, wait_until

from mxface.errors import RankError
from mxface.train.launcher import launch
from mxface.train.process_group import find_place

pytestmark = needs_proc
SILENCE_S = 8.0
"""After which a rank is given up by the others."""


def be_a_rank(deed: str) -> int:
    """The main rank works while the other one waits, and the other way round."""
    import torch

    from mxface.train.launcher import telling_the_launcher
    from mxface.train.process_group import joined
    from mxface.train.state import StateFolder

    place = find_place()
    assert place is not None
    if deed == "keep a state" and place.rank == 1:
        make_the_disk_slow()
    Path(f"imported{place.rank}").touch()  # which may take one of them long
    wait_until(lambda: all(Path(f"imported{rank}").exists() for rank in range(2)), "the other rank")
    with telling_the_launcher(), joined(place, torch.device("cpu"), timeout_s=SILENCE_S) as ranks:
        assert ranks.on_main(lambda: work(deed)) == "done"
        with ranks.at_work():
            if place.rank == 1:
                work(deed)
        if deed == "keep a state":
            table = {"rows": torch.full((2, 2), float(place.rank))}
            states = StateFolder(Path("state"), ranks)
            states.save(table, step=1, sharded={"rows": 4})
            table["rows"].fill_(-1)
            states.load_newest(table, sharded={"rows": 4})
            assert bool((table["rows"] == place.rank).all())
        ranks.barrier()
    return 0


def make_the_disk_slow() -> None:
    """For this rank, slower than the timeout."""
    from torch.distributed.checkpoint.filesystem import FileSystemWriter

    from mxface.train import state_files

    write_data, open_file = FileSystemWriter.write_data, state_files._open

    def write_slowly(*arguments: Any) -> Any:
        time.sleep(1.5 * SILENCE_S)
        return write_data(*arguments)

    def open_slowly(path: Path) -> Any:
        time.sleep(1.5 * SILENCE_S)
        return open_file(path)

    FileSystemWriter.write_data = write_slowly
    state_files._open = open_slowly


def work(deed: str) -> str:
    if deed == "work":
        time.sleep(1.5 * SILENCE_S)
    if deed == "be killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "be stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    return "done"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def command(deed: str) -> list[str]:
    return [sys.executable, "-u", __file__, deed]


@pytest.mark.parametrize("deed", ["work", "keep a state"])
def test_work_takes_longer_than_the_timeout(deed: str) -> None:
    assert launch(command(deed), 2) == 0


@pytest.mark.parametrize(
    ("deed", "sentence"),
    [
        ("be killed", r"rank 0 of 2 was killed by SIGKILL .*--resume"),
        ("be stopped", r"rank 0 does not answer; rank 1 of 2: another rank ended, or was silent for 8 s \(.*--resume"),
    ],
)
def test_a_rank_that_ends_at_work_is_noticed(deed: str, sentence: str) -> None:
    with pytest.raises(RankError, match=f"^{sentence}"):
        launch(command(deed), 2)


if __name__ == "__main__":
    sys.exit(be_a_rank(sys.argv[1]))
