"""Which of MXNet's devices are trained on; with a stand-in for MXNet that says how many GPUs it sees."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from mxface.errors import ConfigError
from mxface.train import mxnet_learner
from mxface.train.mxnet_learner import choose_contexts


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch):
    """`choose_contexts` where MXNet sees so many GPUs: the devices, and what is said."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MXNET_OMP_MAX_THREADS", "7")  # also so that the test leaves the environment as it was

    def choose(count: int, requested: str | None, visible: str | None, threads: int = 0) -> tuple[list[str], list[str]]:
        context = SimpleNamespace(num_gpus=lambda: count)
        mx = SimpleNamespace(context=context, cpu=lambda: "cpu", gpu=lambda number: f"gpu{number}")
        monkeypatch.setattr(mxnet_learner, "import_mxnet", lambda: mx)
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        lines: list[str] = []
        return choose_contexts(requested, threads=threads, say=lines.append), lines

    return choose


@pytest.mark.parametrize(
    ("count", "requested", "visible", "devices", "line"),
    [
        (0, None, None, ["cpu"], "use cpu"),
        (0, None, "", ["cpu"], "use cpu"),
        (2, None, "", ["cpu"], "use cpu"),
        (2, None, None, ["gpu0", "gpu1"], "gpu num: 2"),
        (2, None, "3,5", ["gpu0", "gpu1"], "gpu num: 2"),
        (2, "cpu", "3,5", ["cpu"], "use cpu"),
    ],
)
def test_as_2019_chose(choose, count, requested, visible, devices, line) -> None:
    assert choose(count, requested, visible) == (devices, [line])


def test_one_gpu_by_its_number(choose) -> None:
    assert choose(2, "cuda:1", None) == (["gpu1"], [])
    assert choose(2, "cuda", None) == (["gpu0"], [])


@pytest.mark.parametrize(
    ("count", "requested", "visible", "message"),
    [
        (0, None, "0", r"CUDA_VISIBLE_DEVICES is '0', but this MXNet sees no GPU; install the mxnet-cu"),
        (1, "cuda:1", None, r"--device cuda:1: this MXNet sees 1 GPUs"),
        (1, "gpu", None, r"--device gpu: expected cpu, cuda or cuda:N"),
        (1, "cuda:x", None, r"--device cuda:x: expected"),
    ],
)
def test_what_does_not_exist_is_refused(choose, count, requested, visible, message) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(count, requested, visible)


def test_threads_reach_mxnet_before_it_is_imported(choose) -> None:
    choose(0, "cpu", None)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MXNET_OMP_MAX_THREADS"]) == ("1", "7")
    choose(0, "cpu", None, threads=3)
    assert ("OMP_NUM_THREADS" in os.environ, os.environ["MXNET_OMP_MAX_THREADS"]) == (False, "3")
