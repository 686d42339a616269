"""Five steps of SGD against 2019's optimiser on real MXNet: the optimiser alone, and with network and head.

MXNet 1.9.1 multiplies the gradient of a PReLU slope inside a graph by the slope (oracle/runs/README). Ours is the true
derivative, so the test puts that factor in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support import ORACLE
from torch import nn

from mxface.graph import Symbol, load_symbol
from mxface.losses import HeadConfig, SoftmaxHead
from mxface.lower import lower
from mxface.train.optimizer import NO_MULTIPLIERS, SGD, Multipliers, named_multipliers

OPTIM = ORACLE / "runs" / "optim"
RUNS: dict[str, Any] = json.loads((OPTIM / "sgd_meta.json").read_text()) if OPTIM.is_dir() else {}
STEPS = range(1, 6)
BASE_LR = 0.1
INPUTS = ("data", "softmax_label")


def test_the_oracle_has_cases(oracle: object) -> None:
    assert RUNS


class Run:
    """One stored run."""

    def __init__(self, name: str) -> None:
        self.settings = RUNS[name]
        with np.load(OPTIM / "sgd.npz") as arrays:
            self.arrays = {
                key.removeprefix(f"{name}/"): arrays[key] for key in arrays.files if key.startswith(f"{name}/")
            }

    def stored(self, group: str) -> dict[str, torch.Tensor]:
        """The arrays of `step3` or `grad3` by parameter name."""
        return {k.split("/")[1]: torch.tensor(v) for k, v in self.arrays.items() if k.startswith(f"{group}/")}

    def rates(self) -> Iterator[tuple[int, float]]:
        """Step number and its learning rate."""
        lr = BASE_LR
        for step in STEPS:
            lr *= 0.1 if step == self.settings["drop"] else 1
            yield step, lr

    def multipliers(self) -> Multipliers:
        return named_multipliers(network(), INPUTS) if self.settings.get("named") else NO_MULTIPLIERS

    def optimizer(self, parameters: dict[str, nn.Parameter]) -> SGD:
        settings = self.settings
        return SGD(
            parameters.items(), lr=BASE_LR, momentum=0.9, wd=settings["wd"], rescale_grad=settings["resc"],
            clip_gradient=settings["clip"], multipliers=self.multipliers(),
        )  # fmt: skip

    def assert_equal(self, step: int, ours: dict[str, torch.Tensor]) -> None:
        theirs = self.stored(f"step{step}")
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            torch.testing.assert_close(
                ours[name].detach(), value, rtol=1e-5, atol=5e-6, msg=lambda m, n=name: f"{n}: {m}"
            )


def network() -> Symbol:
    return load_symbol(OPTIM / "net-symbol.json")


@pytest.mark.parametrize("name", RUNS)
def test_optimizer_alone(name: str) -> None:
    """The stored gradients give the stored steps."""
    run = Run(name)
    states = set(network().list_auxiliary_states())
    parameters = {n: nn.Parameter(value) for n, value in run.stored("step0").items() if n not in states}
    optimizer = run.optimizer(parameters)
    for step, lr in run.rates():
        with torch.no_grad():
            parameters["fc1_gamma"].fill_(1)  # as a training forward of a fix_gamma BatchNorm does
        for parameter_name, gradient in run.stored(f"grad{step}").items():
            parameters[parameter_name].grad = gradient
        optimizer.lr = lr
        optimizer.step()
        moved = {n: parameter.detach() for n, parameter in parameters.items()}
        run.assert_equal(step, moved | {n: v for n, v in run.stored(f"step{step}").items() if n in states})


def test_multipliers_of_the_symbol(oracle: Path) -> None:
    named = next(settings for settings in RUNS.values() if settings.get("named"))
    assert named_multipliers(network(), INPUTS) == (named["lr_mult"], named["wd_mult"])


class Trainer:
    """The lowered backbone and the softmax head, started from a run's first parameters."""

    def __init__(self, run: Run) -> None:
        start = run.stored("step0")
        self.backbone = lower(network().get_internals()["fc1_output"], {n: v.numpy() for n, v in start.items()}).train()
        classes, emb_size = start["fc7_weight"].shape
        self.head = SoftmaxHead(HeadConfig(num_classes=classes, emb_size=emb_size, kind="softmax"))
        self.head.load_state_dict({n: start[n] for n in ("fc7_weight", "fc7_bias")}, strict=False)

    def put_slope_factor_in(self) -> None:
        for name, slope in self.backbone.named_parameters():
            if name.startswith("relu"):
                assert slope.grad is not None
                slope.grad *= slope.detach()

    def values(self) -> dict[str, torch.Tensor]:
        head = {name: parameter.detach() for name, parameter in self.head.named_parameters()}
        return {**self.backbone.state_dict(), **head}


def batch(run: Run, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(run.arrays[f"data{step}"]), torch.from_numpy(run.arrays[f"label{step}"]).long()


@pytest.mark.parametrize("name", RUNS)
def test_training_by_autograd(name: str) -> None:
    run = Run(name)
    trainer = Trainer(run)
    optimizer = run.optimizer(dict([*trainer.backbone.named_parameters(), *trainer.head.named_parameters()]))
    for step, lr in run.rates():
        data, label = batch(run, step)
        optimizer.zero_grad()
        trainer.head(trainer.backbone(data), label).loss.backward()
        trainer.put_slope_factor_in()
        optimizer.lr = lr
        optimizer.step()
        run.assert_equal(step, trainer.values())


@pytest.mark.parametrize("name", [name for name in RUNS if RUNS[name]["clip"] is None])
def test_training_with_the_fused_head(name: str) -> None:
    run = Run(name)
    trainer = Trainer(run)
    optimizer = run.optimizer(dict(trainer.backbone.named_parameters()))
    multipliers = run.multipliers()
    for step, lr in run.rates():
        data, label = batch(run, step)
        optimizer.zero_grad()
        embedding = trainer.backbone(data)
        _, gradient = trainer.head.step(
            embedding, label, lr=lr, momentum=0.9, wd=run.settings["wd"], rescale=run.settings["resc"],
            lr_mult=multipliers.lr, wd_mult=multipliers.wd,
        )  # fmt: skip
        embedding.backward(gradient)
        trainer.put_slope_factor_in()
        optimizer.lr = lr
        optimizer.step()
        run.assert_equal(step, trainer.values())
