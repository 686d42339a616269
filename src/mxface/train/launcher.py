"""Several ranks on this machine from one command, and what becomes of them: the work of torchrun where nobody asked it.

The command starts itself anew, once a rank, with the place of each in the environment (`train.process_group`), and
waits. It passes the first SIGTERM or Ctrl-C on, so that the ranks save and end together; at the second it ends them.
When one rank dies it ends the others, and says which and how. When it dies itself, the ranks save and end.

The ranks have a session of their own: a Ctrl-C in the terminal reaches this process alone, and each rank once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType

import torch.distributed as dist

from mxface.cpus import usable_cpus
from mxface.errors import MxfaceError, RankError
from mxface.train.process_group import LAUNCHER_STORE, WAY_OUT

GRACE_S = 5.0  # how long the other ranks may take to notice that one is gone, and to say why
ORPHAN_GRACE_S = 300.0  # how long a rank without a launcher may take to save
POLL_S = 0.05
SIGNALS = (signal.SIGTERM, signal.SIGINT)
ORDERLY = (0, *(128 + number for number in SIGNALS))  # exit statuses of a run that saved its state
ERROR_FILE, LAUNCHER_PIPE = "MXFACE_ERROR_FILE", "MXFACE_LAUNCHER_PIPE"
LOST = "lost: "  # before the sentence of a rank that only suffers from another's end


def launch(command: Sequence[str], count: int) -> int:
    """Run `command` on `count` ranks of this machine until all have ended; the exit status of one such command.

    Raises RankError, with the ranks' own sentence where they have one, when a rank fails.
    """
    make_store = dist.TCPStore  # type: ignore[attr-defined]
    store = make_store("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=60))
    with tempfile.TemporaryDirectory(prefix="mxface-ranks-") as folder, _pipe() as pipe, _Signals() as signals:
        ranks = [_start(command, rank, count, store.port, pipe, Path(folder)) for rank in range(count)]
        try:
            _wait(ranks, signals)
            failed = [rank for rank, process in enumerate(ranks) if process.poll() not in (None, *ORDERLY)]
        finally:
            for process in ranks:
                process.kill()
                process.wait()
        if len(signals.received) > 1:
            return 128 + signals.received[1]
        if failed and signals.received and all(ranks[rank].returncode == -signals.received[0] for rank in failed):
            return 128 + signals.received[0]  # they had not begun: nothing is there to be saved
        if failed:
            raise _account(ranks, failed, Path(folder))
    return max(process.returncode for process in ranks)


def same_command(argv: Sequence[str] | None, module: str) -> list[str]:
    """The command line that started this process; for a call of `main(argv)`, that of `python -m module`."""
    if argv is None:
        return [sys.executable, *sys.orig_argv[1:]]
    return [sys.executable, "-m", module, *argv]


def is_launched() -> bool:
    """Whether this process is a rank that `launch` started."""
    return LAUNCHER_PIPE in os.environ


@contextlib.contextmanager
def telling_the_launcher() -> Iterator[None]:
    """In a rank that `launch` started: an error for users is left to the launcher to say, once for all ranks.

    And the rank ends with its launcher. Elsewhere nothing changes.
    """
    if not is_launched():
        yield
        return
    threading.Thread(target=_end_with_launcher, args=(int(os.environ[LAUNCHER_PIPE]),), daemon=True).start()
    try:
        yield
    except (MxfaceError, OSError) as error:
        if os.environ.get("MXFACE_TRACEBACK"):
            raise
        mark = LOST if isinstance(error, RankError) else ""
        Path(os.environ[ERROR_FILE]).write_text(f"{mark}{error}", encoding="utf-8")
        sys.stdout.flush()
        os._exit(1)  # the ordinary way out would wait for ranks that are gone


def _start(
    command: Sequence[str], rank: int, count: int, port: int, pipe: int, folder: Path
) -> subprocess.Popen[bytes]:
    place: dict[str, object] = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
    ours: dict[str, object] = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, LAUNCHER_STORE: port}
    ours |= {ERROR_FILE: folder / f"{rank}", LAUNCHER_PIPE: pipe}
    defaults: dict[str, object] = {"OMP_NUM_THREADS": max(1, usable_cpus() // count)}
    if any(name == "lo" for _, name in socket.if_nameindex()):
        defaults["GLOO_SOCKET_IFNAME"] = "lo"  # gloo would look its own host name up, which need not resolve
    environment = {name: str(value) for name, value in {**defaults, **os.environ, **place, **ours}.items()}
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, pass_fds=(pipe,), start_new_session=True
    )


def _wait(ranks: Sequence[subprocess.Popen[bytes]], signals: _Signals) -> None:
    """Until all have ended, or some have failed and the others had their time, or a second signal has come."""
    passed_on, deadline = 0, None
    while any(process.poll() is None for process in ranks):
        if len(signals.received) > passed_on:
            if passed_on:
                return
            for process in ranks:
                process.send_signal(signals.received[0])
            passed_on = 1
        if deadline is None and any(process.poll() not in (None, *ORDERLY) for process in ranks):
            deadline = time.monotonic() + GRACE_S
        if deadline is not None and time.monotonic() > deadline:
            return
        time.sleep(POLL_S)


def _account(ranks: Sequence[subprocess.Popen[bytes]], failed: Sequence[int], folder: Path) -> RankError:
    """What happened, in a sentence. `failed` are the ranks that ended in disorder; others may be hanging still."""
    words = {rank: (folder / f"{rank}").read_text(encoding="utf-8") for rank in failed if (folder / f"{rank}").exists()}
    causes = {rank: text for rank, text in words.items() if not text.startswith(LOST)}
    if causes:
        first = min(causes)
        everywhere = len(causes) == len(ranks) and len(set(causes.values())) == 1
        return RankError(causes[first] if everywhere else f"rank {first} of {len(ranks)}: {causes[first]}")
    silent = [rank for rank in failed if rank not in words]
    if silent:
        return RankError(f"rank {silent[0]} of {len(ranks)} {_manner(ranks[silent[0]].returncode)}; {WAY_OUT}")
    hanging = [f"rank {rank}" for rank in range(len(ranks)) if rank not in failed]
    return RankError(f"{', '.join(hanging) or 'a rank'} does not answer; {words[failed[0]].removeprefix(LOST)}")


def _manner(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status} (its own words are above)"
    name = signal.Signals(-status).name
    return f"was killed by {name}" + (" (as the system does when memory runs out)" if name == "SIGKILL" else "")


def _end_with_launcher(pipe: int) -> None:
    """Wait until the launcher's end of the pipe is closed, then ask this rank to save and end."""
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_GRACE_S)
    os._exit(1)


@contextlib.contextmanager
def _pipe() -> Iterator[int]:
    """The end to read from; nobody ever writes, and it closes with this process at the latest."""
    reader, writer = os.pipe()
    try:
        yield reader
    finally:
        os.close(reader)
        os.close(writer)


class _Signals:
    """While entered, the signals that arrive, in their order; they do nothing else."""

    def __init__(self) -> None:
        self.received: list[signal.Signals] = []
        self._before = {number: signal.getsignal(number) for number in SIGNALS}

    def __enter__(self) -> _Signals:
        for number in SIGNALS:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(signal.Signals(number))
