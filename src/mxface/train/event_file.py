"""Figures for TensorBoard, a record each. A disk that does not take them costs the figures, not the run."""

from __future__ import annotations

import logging
import os
import socket
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

log = logging.getLogger(__name__)

FILE_VERSION = "brain.Event:2"


class EventFile:
    """A new event file in `folder`; TensorBoard forgets what older ones say of `first_step` and later steps.

    Not `torch.utils.tensorboard`: its thread answers a full disk with a traceback, and closing it raises again.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        place = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{len(list(folder.iterdir()))}"
        self._path = folder / f"events.out.tfevents.{place}"
        self._writer: RecordWriter | None = RecordWriter(self._path.open("xb"))
        self._write(Event(wall_time=time.time(), step=first_step, file_version=FILE_VERSION))
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=time.time(), step=first_step, session_log=start))

    def scalar(self, step: int, name: str, value: float) -> None:
        """One figure after batch `step`."""
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """No figures any more."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _write(self, event: Event) -> None:
        if self._writer is None:
            return
        try:
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except OSError as exc:
            log.warning("%s: %s; no more figures for TensorBoard from here on", self._path, exc.strerror)
            self._give_up()

    def _give_up(self) -> None:
        try:
            self.close()
        except OSError:  # what is buffered cannot be written either
            pass
