"""One training step of real MXNet from a given state, here or in a process of its own with another environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from tests.support import REPOSITORY

Arrays = dict[str, np.ndarray]


class State(NamedTuple):
    """Everything that a step reads and writes, by name."""

    args: Arrays
    momentum: Arrays
    aux: Arrays


class Step(NamedTuple):
    """The loss of a batch and the state after its update."""

    loss: float
    state: State


class MxnetTrainer:
    """2019's Module and SGD on a loss graph (JSON text) whose last output is the loss."""

    def __init__(self, graph: str, data_shape: tuple[int, ...], *, lr: float, momentum: float, wd: float) -> None:
        import mxnet as mx

        self._mx = mx
        self._module = mx.mod.Module(
            mx.sym.load_json(graph), data_names=["data"], label_names=["softmax_label"], context=mx.cpu()
        )
        self._module.bind([("data", data_shape)], [("softmax_label", data_shape[:1])])
        self._module.init_params(mx.init.Zero())
        optimizer = mx.optimizer.SGD(learning_rate=lr, momentum=momentum, wd=wd, rescale_grad=1.0 / data_shape[0])
        self._module.init_optimizer(kvstore=None, optimizer=optimizer)
        optimizer.rescale_grad = 1.0  # 2019's, of which Module would have warned: the loss has divided by B already
        self._names: list[str] = self._module._exec_group.param_names

    def step(self, state: State, data: np.ndarray, label: np.ndarray) -> Step:
        """One step from `state`; `data` (B, 3, H, W), `label` (B,)."""
        nd = self._mx.nd
        self._module.set_params(
            {name: nd.array(value) for name, value in state.args.items()},
            {name: nd.array(value) for name, value in state.aux.items()},
        )
        self._module._updater.states = {i: nd.array(state.momentum[name]) for i, name in enumerate(self._names)}
        self._module._updater.states_synced = dict.fromkeys(range(len(self._names)), True)
        self._module.forward_backward(self._mx.io.DataBatch([nd.array(data)], [nd.array(label)]))
        self._module.update()
        nd.waitall()  # BatchNorm's backward writes the moving statistics without telling the engine that it does
        loss = float(self._module.get_outputs()[-1].asscalar())
        args, aux = self._module.get_params()
        momentum = {name: self._module._updater.states[i] for i, name in enumerate(self._names)}
        return Step(loss, State(*({k: v.asnumpy() for k, v in part.items()} for part in (args, momentum, aux))))


class MxnetProcess:
    """An `MxnetTrainer` in another process, under `env`."""

    def __init__(
        self, folder: Path, graph: str, data_shape: tuple[int, ...], env: Mapping[str, str], **rates: float
    ) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mxnet.module"],
            cwd=REPOSITORY,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._send({"graph": graph, "data_shape": data_shape, **rates})

    def __enter__(self) -> MxnetProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def step(self, state: State, data: np.ndarray, label: np.ndarray) -> Step:
        asked, answered = self._folder / "asked.npz", self._folder / "answered.npz"
        save_state(asked, state, data=data, label=label)
        answer = self._send({"asked": str(asked), "answered": str(answered)})
        return Step(answer["loss"], load_state(answered)[0])

    def _send(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def save_state(path: Path, state: State, **more: np.ndarray) -> None:
    parts = {f"{part}/{name}": value for part, arrays in state._asdict().items() for name, value in arrays.items()}
    np.savez(path, **parts, **more)


def load_state(path: Path) -> tuple[State, Arrays]:
    with np.load(path) as file:
        arrays = dict(file)
    parts = {
        part: {name.removeprefix(f"{part}/"): value for name, value in arrays.items() if name.startswith(f"{part}/")}
        for part in State._fields
    }
    return State(**parts), arrays


def serve() -> None:
    """The other process: first the trainer's arguments, then steps, one JSON line each."""
    trainer = None
    for line in sys.stdin:
        message = json.loads(line)
        if trainer is None:
            message["data_shape"] = tuple(message["data_shape"])
            trainer = MxnetTrainer(**message)
            answer = {}
        else:
            state, arrays = load_state(Path(message["asked"]))
            step = trainer.step(state, arrays["data"], arrays["label"])
            save_state(Path(message["answered"]), step.state)
            answer = {"loss": step.loss}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
