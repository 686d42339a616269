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

    It is made with the first figure, and the folder too, but not the one that this is in.
    Not `torch.utils.tensorboard`: its thread answers a full disk with a traceback, and closing it raises again.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        self._folder = folder
        self._first_step = first_step
        self._writer: RecordWriter | None = None
        self._has_ended = False

    def scalar(self, step: int, name: str, value: float) -> None:
        """One figure after batch `step`."""
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """No figures any more."""
        self._has_ended = True
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _write(self, event: Event) -> None:
        if self._has_ended:
            return
        try:
            if self._writer is None:
                self._writer = self._begin()
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except OSError as exc:
            log.warning("%s: %s; no more figures for TensorBoard from here on", self._folder, exc.strerror)
            self._give_up()

    def _begin(self) -> RecordWriter:
        self._folder.mkdir(exist_ok=True)
        place = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{len(list(self._folder.iterdir()))}"
        writer = RecordWriter((self._folder / f"events.out.tfevents.{place}").open("xb"))
        start = SessionLog(status=SessionLog.START)
        for first in ({"file_version": FILE_VERSION}, {"session_log": start}):
            writer.write(Event(wall_time=time.time(), step=self._first_step, **first).SerializeToString())
        return writer

    def _give_up(self) -> None:
        try:
            self.close()
        except OSError:  # what is buffered cannot be written either
            pass
