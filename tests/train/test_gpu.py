"""Training on a GPU: the numbers of the CPU, and the command for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support import REPOSITORY
from tests.support.training import write_tiny_config, write_tiny_set
from tests.train.tiny import CONFIG, tiny_batch, tiny_embedding

from mxface.losses import HeadConfig, HeadOutput, SoftmaxHead
from mxface.train.initializer import init_params
from mxface.train.learner import Learner

pytestmark = pytest.mark.gpu


def accept(_output: HeadOutput) -> None:
    """No check."""


def learner_on(device: str) -> Learner:
    """`tiny_learner` without dropout, whose masks are other ones on a GPU."""
    embedding = tiny_embedding(dropout=0.0)
    arguments, _, states = embedding.infer_shape(data=(1, 3, 8, 8))
    shapes = {name: shape for name, shape in {**arguments, **states}.items() if name != "data"}
    params = init_params(embedding, shapes, "fresnet", np.random.default_rng(0))
    head = SoftmaxHead(
        HeadConfig(num_classes=5, emb_size=8, s=16.0, m2=0.1), generator=torch.Generator().manual_seed(0)
    )
    return Learner(embedding, params, head, CONFIG, device=torch.device(device))


def test_three_steps_are_those_of_the_cpu() -> None:
    learners = [learner_on("cpu"), learner_on("cuda")]
    for step in range(1, 4):
        losses = [
            float(learner.train_batch(tiny_batch(step), step=step, lr=0.1, check=accept).output.loss)
            for learner in learners
        ]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    expected, found = (learner.tensors() for learner in learners)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name].cpu(), tensor, rtol=1e-3, atol=2e-4, msg=name)
    data = tiny_batch(0).data
    np.testing.assert_allclose(learners[1].embed(data), learners[0].embed(data), rtol=1e-3, atol=1e-3)


def test_a_preview_changes_nothing() -> None:
    learner = learner_on("cuda")
    learner.train_batch(tiny_batch(1), step=1, lr=0.1, check=accept)
    before = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    seen = learner.preview(tiny_batch(2), step=2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.tensors().items())
    given = learner.train_batch(tiny_batch(2), step=2, lr=0.1, check=accept).output
    torch.testing.assert_close(seen.cross_entropy, given.cross_entropy, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("more", [(), ("--dtype", "bf16", "--head-dtype", "bf16", "--workers", "2"), ("--compile",)])
def test_the_command(tmp_path: Path, more: tuple[str, ...]) -> None:
    config = write_tiny_config(tmp_path / "config.py", write_tiny_set(tmp_path / "tiny"))
    words = ("--network", "tiny", "--dataset", "tiny", "--loss", "arcface", "--config", str(config), "--ckpt", "2")

    def run(*flags: str) -> str:
        command = [sys.executable, "-u", "train.py", *words, "--models-root", str(tmp_path / "models"), *more, *flags]
        done = subprocess.run(
            command, cwd=REPOSITORY / "recognition", capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "gpu num: 1" in run()
    assert "resumed from" in run("--resume")
