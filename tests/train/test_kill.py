"""What the real command leaves behind when it ends badly: whole files always, and a resumed run that nobody notices.

kill -9 at random moments, of the whole run or of one of its ranks; a full disk; folders that vanish.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest
import torch
from tests.support.processes import PATIENCE_S, wait_until
from tests.support.training import write_tiny_config, write_tiny_set

from mxface.formats.checkpoint import list_epochs, params_path
from mxface.graph import load_checkpoint
from mxface.recognition.train import main
from mxface.train.model_of_state import read_tables
from mxface.train.state import StateFolder
from mxface.train.state_metadata import read_metadata, stored_tensors

BATCHES_PER_EPOCH, STEPS = 3, 21
FLAGS = ["--network", "tiny", "--dataset", "tiny", "--threads", "1", "--state-steps", "1", "--frequent", "1"]
FLAGS += ["--ckpt", "2", "--verbose", "5"]
LONG, LONG_STEPS = ("--config", "long.py"), 5000
"""For a run that is to be caught at work: one of STEPS might have ended by then."""


class Run:
    """A run of the command in a folder, which is killed and started again; `log` is its output so far."""

    def __init__(self, workplace: Path, name: str) -> None:
        self.workplace, self.name = workplace, name
        self.folder = workplace / name / "tiny-arcface-tiny"
        self.log = workplace / f"{name}.log"
        self.states = StateFolder(self.folder / "state")

    def start(self, *more: str) -> BaseProcess:
        """The command in a new process, forked from one that has imported everything."""
        flags = [*FLAGS, "--models-root", self.name, "--resume", *more]
        process = multiprocessing.get_context("forkserver").Process(  # type: ignore[attr-defined]
            target=train_here, args=(flags, self.workplace, self.log), daemon=True
        )
        process.start()
        return process

    def tables(self) -> dict[str, torch.Tensor]:
        """Everything that the newest state holds."""
        return whole_state(self.states.list_states()[-1])

    def newest_step(self) -> int:
        """Of the newest state; 0 where there is none."""
        return max((int(path.name[5:]) for path in self.states.list_states()), default=0)

    def require_whole(self) -> None:
        """Whatever lies in the folder can be read, and no more than one step is lost."""
        for state in self.states.list_states():
            whole_state(state)
        for epoch in list_epochs(self.folder / "model"):
            checkpoint = load_checkpoint(self.folder / "model", epoch)
            assert {*checkpoint.arg_params, "data"} == set(checkpoint.symbol.list_arguments())
        said = self.log.read_text() if self.log.exists() else ""
        trained = [
            int(epoch) * BATCHES_PER_EPOCH + int(batch) + 1
            for epoch, batch in re.findall(r"Epoch\[(\d+)\] Batch \[\d+-(\d+)\]", said)
        ]
        assert self.newest_step() >= max(trained, default=0) - 1


def train_here(flags: list[str], folder: Path, log: Path) -> None:
    """The command in this process, its output behind `log`."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.chdir(folder)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main(flags))


def whole_state(state: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a state, its bytes checked."""
    return read_tables(state, list(stored_tensors(read_metadata(state))), state)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, config.py for STEPS batches and long.py for LONG_STEPS."""
    folder = tmp_path_factory.mktemp("workplace")
    write_tiny_set(folder / "tiny")
    write_config(folder / "config.py", STEPS)
    write_config(folder / "long.py", LONG_STEPS)
    multiprocessing.get_context("forkserver").set_forkserver_preload(["mxface.recognition.train"])
    return folder


def write_config(path: Path, steps: int) -> None:
    """For so many batches of the data set beside it."""
    write_tiny_config(path, path.parent / "tiny", more=f"\ndataset.tiny.max_steps = {steps - 1}\n")


@pytest.fixture(scope="module")
def never_killed(workplace: Path) -> Run:
    """The run that the others must equal."""
    run = Run(workplace, "never_killed")
    process = run.start()
    process.join(PATIENCE_S)
    assert process.exitcode == 0, run.log.read_text()
    assert run.newest_step() == STEPS
    return run


def wait_for(event: Callable[[], bool], process: BaseProcess) -> None:
    """Until the event, or the process has ended."""
    wait_until(lambda: event() or not process.is_alive(), "what the test waits for", pause_s=0.0005)


def wait_for_a_moment(kind: int, run: Run, process: BaseProcess, rng: random.Random) -> None:
    """Three kinds: while a state is written, while it trains, and anywhere from the start of the process."""
    if kind == 0:
        begun = run.newest_step()
        wait_for(lambda: run.newest_step() > begun, process)
        wait_for(lambda: any((run.folder / "state").glob(".step-*")), process)
        time.sleep(rng.uniform(0, 0.01))
    elif kind == 1:
        said = len(run.log.read_text()) if run.log.exists() else 0
        wait_for(lambda: run.log.exists() and "call reset()" in run.log.read_text()[said:], process)
        time.sleep(rng.uniform(0, 1.0))
    else:
        time.sleep(rng.uniform(0, 2.0))


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_moments_equals_never_killed(workplace: Path, never_killed: Run, kills: int) -> None:
    rng = random.Random(kills)
    run, ended = Run(workplace, f"killed-{kills}"), 0
    for number in range(kills):
        process = run.start()
        wait_for_a_moment(number % 3, run, process, rng)
        seen = run.newest_step()
        process.kill()
        process.join(PATIENCE_S)
        assert process.exitcode in (0, -signal.SIGKILL), run.log.read_text()
        run.require_whole()
        assert run.newest_step() >= seen
        if run.newest_step() == STEPS:
            require_equal(run, never_killed)
            ended += 1
            run = Run(workplace, f"killed-{kills}-{ended}")
    process = run.start()
    process.join(PATIENCE_S)
    assert process.exitcode == 0, run.log.read_text()
    require_equal(run, never_killed)
    assert [path.name for path in run.folder.rglob("*.tmp")] == []
    process = run.start()
    process.join(PATIENCE_S)
    assert process.exitcode == 0
    assert f"nothing is left to do: max_steps is {STEPS - 1}" in run.log.read_text()


def require_equal(run: Run, other: Run) -> None:
    """The same bits in the last state and in every model file."""
    ours, theirs = run.tables(), other.tables()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    epochs = list_epochs(other.folder / "model")
    assert list_epochs(run.folder / "model") == epochs == [1, 2, 3, 4]
    for epoch in epochs:
        paths = (params_path(folder / "model", epoch) for folder in (run.folder, other.folder))
        assert len({path.read_bytes() for path in paths}) == 1


def test_a_full_disk_leaves_the_last_state_whole(workplace: Path) -> None:
    run = Run(workplace, "full")
    process = run.start(*LONG)
    wait_for(lambda: run.newest_step() >= 2, process)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1 << 22, 1 << 22))  # a model fits, a state does not
    process.join(PATIENCE_S)
    said = run.log.read_text()
    assert (process.exitcode, "Traceback" in said) == (1, False), said
    last = run.newest_step()
    folder = Path("full/tiny-arcface-tiny/state")
    assert said.splitlines()[-1].endswith(
        f"error: {folder}/step-{last + 1:08d}: cannot be written (File too large); "
        f"free some space or make the folder writable; --resume then goes on from step-{last:08d}"
    )
    assert [path.name for path in (run.folder / "state").iterdir() if path.name.startswith(".")] == []
    run.require_whole()


def test_an_output_folder_that_vanishes_is_not_made_anew(workplace: Path) -> None:
    run = Run(workplace, "vanished")
    process = run.start(*LONG)
    wait_for(lambda: run.newest_step() >= 1, process)
    run.folder.rename(workplace / "elsewhere")
    process.join(PATIENCE_S)
    said = run.log.read_text()
    assert (process.exitcode, "Traceback" in said) == (1, False), said
    folder = "vanished/tiny-arcface-tiny"
    assert re.search(
        rf"error: {folder}/\S+: cannot be written \(No such file or directory\); .*--resume goes on from .* last ",
        said.splitlines()[-1],
    ), said
    assert not run.folder.exists()
    (workplace / "elsewhere").rename(run.folder)
    run.require_whole()


def test_a_folder_that_vanishes_before_the_first_state_is_not_made_anew_either(workplace: Path) -> None:
    run = Run(workplace, "early")
    process = run.start(*LONG, "--state-steps", "300")
    wait_for(lambda: run.log.exists() and "call reset()" in run.log.read_text(), process)
    run.folder.rename(workplace / "elsewhere_too")
    process.join(PATIENCE_S)
    said = run.log.read_text()
    assert (process.exitcode, "Traceback" in said) == (1, False), said
    assert "early/tiny-arcface-tiny is gone: put it back" in said or "cannot be written" in said, said
    assert not run.folder.exists()


def test_a_second_run_in_the_same_folder_is_refused_and_disturbs_nothing(workplace: Path) -> None:
    """As where a supervisor starts a run anew whose ranks are still at work."""
    run = Run(workplace, "busy")
    process = run.start(*LONG)
    wait_for(lambda: run.newest_step() >= 1, process)
    second = Run(workplace, "busy")
    second.log = workplace / "second.log"
    late = second.start(*LONG)
    late.join(PATIENCE_S)
    assert (late.exitcode, process.is_alive()) == (1, True), run.log.read_text()
    said = second.log.read_text()
    sentence = "error: busy/tiny-arcface-tiny: another run writes there now; wait for its end, or choose another"
    assert sentence in said.splitlines()[-1], said
    process.kill()
    process.join(PATIENCE_S)
    run.require_whole()
    third = run.start(*LONG)  # a killed run leaves no lock behind
    reached = run.newest_step()
    wait_for(lambda: run.newest_step() > reached, third)
    third.kill()
    third.join(PATIENCE_S)
    assert run.newest_step() > reached, run.log.read_text()


def test_a_data_set_that_is_cut_off_while_it_trains(workplace: Path) -> None:
    folder = workplace / "other"
    folder.mkdir()
    write_tiny_set(folder / "tiny")
    write_config(folder / "long.py", LONG_STEPS)
    run = Run(folder, "cut")
    process = run.start(*LONG)
    wait_for(lambda: run.newest_step() >= 1, process)
    os.truncate(folder / "tiny" / "train.rec", 1000)
    process.join(PATIENCE_S)
    said = run.log.read_text()
    assert (process.exitcode, "Traceback" in said) == (1, False), said
    assert re.search(r"error: .*tiny/train.rec", said.splitlines()[-1]), said
    run.require_whole()


def test_one_of_two_ranks_is_killed(workplace: Path) -> None:
    """The run ends with a word, the states are whole, and it goes on on one rank."""
    run = Run(workplace, "ranks")
    process = run.start("--ranks", "2", "--per-batch-size", "4", *LONG)
    wait_for(lambda: run.newest_step() >= 3, process)
    ranks = {rank.environ()["RANK"]: rank for rank in psutil.Process(process.pid).children()}
    assert ranks.keys() == {"0", "1"}
    ranks["1"].kill()
    process.join(PATIENCE_S)
    said = run.log.read_text()
    assert (process.exitcode, "Traceback" in said) == (1, False), said
    assert re.search(r"error: rank 1 .*SIGKILL", said.splitlines()[-1]), said
    run.require_whole()
    killed_at = run.newest_step()
    write_config(workplace / "further.py", killed_at + 4)
    process = run.start("--config", "further.py")
    process.join(PATIENCE_S)
    said = run.log.read_text()
    assert process.exitcode == 0, said
    assert f"step-{killed_at:08d}: goes on at image" in said
    assert f"batch {killed_at + 1}; ranks 1, was 2\n" in said
    assert run.newest_step() == killed_at + 4
