"""Batches from processes: the same as from threads, and an end in words whatever happens to process, file or run."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.loaders.test_train_loader import AUGMENTATIONS, COUNTS, damaged_dataset, equal
from tests.support.processes import PATIENCE_S, is_running, needs_proc, wait_until_gone
from tests.support.records import pack_people

from mxface.errors import ConfigError, DataError
from mxface.loaders import RecordDataset, TrainLoader, worker_pool
from mxface.loaders.epoch import epoch_order

# A command that draws batches for ever from a data set of its argument, and says each; and each SIGTERM, between two
# of them: a handler that printed would do so in the midst of another print.
COMMAND = """
import signal, sys
from mxface.cli import command
from mxface.loaders import RecordDataset, TrainLoader

@command
def main(argv=None):
    path, workers = sys.argv[1:]
    received = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    loader = TrainLoader(RecordDataset(path), batch_size=4, workers=int(workers), damaged_limit=1.0)
    for epoch in range(10**6):
        for batch in loader.epoch(epoch):
            print("batch", *loader._pool.pids if loader.workers else (), flush=True)
            while received:
                print(signal.Signals(received.pop()).name, flush=True)

if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_people(tmp_path_factory.mktemp("records") / "train.rec", COUNTS)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("workers", [1, 3])
def test_processes_make_the_batches_of_threads(path: Path, augmentation: dict[str, int], workers: int) -> None:
    """Over several epochs, after one that was left early, from any image, as one of several ranks."""
    settings = {"batch_size": 4, "rank": 1, "num_ranks": 2, "seed": 5, **augmentation}
    threads = TrainLoader(RecordDataset(path), **settings)  # type: ignore[arg-type]
    processes = TrainLoader(RecordDataset(path), workers=workers, **settings)  # type: ignore[arg-type]
    assert equal(list(processes.epoch(0)), list(threads.epoch(0)))
    assert equal([next(processes.epoch(1))], [next(threads.epoch(1))])
    assert equal(list(processes.epoch(2, 7)), list(threads.epoch(2, 7)))
    assert list(processes.epoch(3, 20)) == []
    for length in (30, 5):  # an order of one's own, longer and shorter than the data set
        order = np.random.default_rng(length).integers(0, 23, length)
        assert equal(list(processes.in_order(order, 4, 1)), list(threads.in_order(order, 4, 1)))
    processes.close()
    assert equal(list(processes.epoch(0)), list(threads.epoch(0)))  # started again
    processes.close()


def test_damage_is_reported_counted_once_and_limited(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = damaged_dataset(tmp_path)
    threads = TrainLoader(dataset, batch_size=4, damaged_limit=0.2)
    processes = TrainLoader(dataset, batch_size=4, workers=2, damaged_limit=0.2)
    for epoch in range(3):
        assert equal(list(processes.epoch(epoch)), list(threads.epoch(epoch)))
    assert processes.damaged == threads.damaged
    assert set(processes.damaged) == {4, 5, 8}
    assert caplog.text.count("key 5 of identity 1 is damaged and skipped") == 2  # once each
    processes.close()
    strict = TrainLoader(dataset, batch_size=1, workers=2, damaged_limit=0.1)
    batches = strict.epoch(0)
    order = epoch_order(0, 0, 23).tolist()
    for _ in range(max(order.index(number) for number in (4, 5, 8))):
        next(batches)
    with pytest.raises(
        DataError, match=r"3 of 23 images are damaged, more than the 2 put up with \(--max-damaged 0\.1\)"
    ):
        next(batches)
    strict.close()


@pytest.fixture
def loader(path: Path) -> Iterator[TrainLoader]:
    loader = TrainLoader(RecordDataset(path), batch_size=2, workers=2)
    yield loader
    loader.close()


def pids(loader: TrainLoader) -> list[int]:
    """Of a loader that has given a batch. The first worker made it; the others may still be starting."""
    assert loader._pool is not None
    return loader._pool.pids


def test_a_killed_worker_is_an_error_not_a_hang(loader: TrainLoader) -> None:
    batches = loader.epoch(0)
    next(batches)
    victim = pids(loader)[1]
    os.kill(victim, signal.SIGKILL)
    killed = (
        rf"decoding process 2 of 2 \(pid {victim}\) was killed by SIGKILL, as the system does where memory runs out"
    )
    with pytest.raises(DataError, match=killed):
        list(batches)


def test_a_worker_that_cannot_start_is_an_error(loader: TrainLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "START", "raise SystemExit(3)")
    with pytest.raises(DataError, match=r"decoding process [12] of 2 \(pid \d+\) ended with status 3 .*--workers 0"):
        list(loader.epoch(0))


def test_a_worker_that_ends_while_others_are_started_is_counted_among_them(
    loader: TrainLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pipe breaks before its settings are in it."""
    start = worker_pool.start_worker

    def start_and_wait(files: Sequence[int]) -> subprocess.Popen[str]:
        worker = start(files)
        worker.wait()
        return worker

    monkeypatch.setattr(worker_pool, "START", "raise SystemExit(3)")
    monkeypatch.setattr(worker_pool, "start_worker", start_and_wait)
    with pytest.raises(DataError, match=r"decoding process 1 of 2 \(pid \d+\) ended with status 3"):
        list(loader.epoch(0))


def test_too_little_memory_is_an_error(loader: TrainLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(DataError, match=r"no 0 MB of memory to share .*No space left.*--workers"):
        next(loader.epoch(0))


@needs_proc
def test_workers_load_no_torch_and_end_with_their_loader(loader: TrainLoader) -> None:
    if importlib.util.find_spec("torch"):
        import torch  # noqa: F401  what a training process has
    list(loader.epoch(0))  # a part of it made by each: they have loaded whatever they need
    workers = pids(loader)
    assert len(workers) == 2
    for pid in workers:
        libraries = Path(f"/proc/{pid}/maps").read_text()
        assert "simplejpeg" in libraries
        assert "torch" not in libraries
    loader.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_settings_that_cannot_work(path: Path) -> None:
    with pytest.raises(ConfigError, match="-1 workers: must be"):
        TrainLoader(RecordDataset(path), batch_size=4, workers=-1)
    with pytest.raises(ConfigError, match=r"damaged limit 1\.5: must be"):
        TrainLoader(RecordDataset(path), batch_size=4, damaged_limit=1.5)


def start_command(path: Path, workers: int) -> subprocess.Popen[str]:
    """COMMAND in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(path), str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def worker_pids(running: subprocess.Popen[str]) -> list[int]:
    """What the next line about a batch says."""
    assert running.stdout is not None
    word, *pids = running.stdout.readline().split()
    assert word == "batch"
    return [int(pid) for pid in pids]


@needs_proc
def test_signals_to_the_whole_group_are_the_loaders_affair(path: Path) -> None:
    """SIGTERM, caught by the command, leaves the workers at work; Ctrl-C ends everything, with one word."""
    running = start_command(path, 2)
    pids = worker_pids(running)
    os.killpg(running.pid, signal.SIGTERM)
    assert running.stdout is not None
    for line in running.stdout:
        if line == "SIGTERM\n":
            break
    for _ in range(50):
        assert worker_pids(running) == pids
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, errors) == (130, "-c: interrupted\n")
    wait_until_gone(pids)


@needs_proc
def test_workers_end_where_the_command_is_killed(path: Path) -> None:
    running = start_command(path, 2)
    pids = worker_pids(running)
    assert all(is_running(pid) for pid in pids)
    running.kill()
    _, errors = running.communicate(timeout=PATIENCE_S)
    wait_until_gone(pids)
    assert errors == ""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_cut_short_under_a_run_is_a_sentence(tmp_path: Path, workers: int) -> None:
    path = pack_people(tmp_path / "train.rec", COUNTS)
    size = path.stat().st_size
    running = start_command(path, workers)
    worker_pids(running)
    os.truncate(path, size // 2)
    _, errors = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 1
    assert errors == (
        f"-c: error: {path}: was cut short while it was read: it has {size // 2} bytes now; put the whole file back "
        "and start again\n"
    )


def test_a_file_deleted_under_a_run_stays_readable(tmp_path: Path) -> None:
    path = pack_people(tmp_path / "train.rec", COUNTS)
    dataset = RecordDataset(path)
    expected = list(TrainLoader(dataset, batch_size=4).epoch(0))
    path.unlink()
    processes = TrainLoader(dataset, batch_size=4, workers=1)
    assert equal(list(processes.epoch(0)), expected)
    processes.close()
