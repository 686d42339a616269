"""Every lowered operator: values against numpy and MXNet, gradients and auxiliary states against MXNet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.lower.cases import CASES, Array, Case

from mxface.errors import UnsupportedOperatorError
from mxface.graph import sym
from mxface.lower import LOWERINGS, lower
from mxface.ops import OPS

RTOL = 2e-5
"""Of the largest value of an array: MXNet's own kernels differ from one another by as much."""

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


class Run:
    """A case through `lower()`: outputs, gradients of their sum weighted by `weights`, and all arrays afterwards."""

    def __init__(self, case: Case) -> None:
        arrays = case.arrays()
        self.names = [name for name in arrays if name not in case.input_names]
        network = lower(case.symbol(), arrays, inputs=case.input_names).train(case.training)
        inputs = {name: torch.tensor(arrays[name]) for name in case.input_names}
        for name in case.differentiable:
            inputs[name].requires_grad_()
        results = network(*inputs.values())
        outputs = [results] if isinstance(results, torch.Tensor) else list(results)
        self.outputs = [output.detach().numpy() for output in outputs]
        self.weights = [draw_weights(output) for output in self.outputs]
        if any(output.requires_grad for output in outputs):
            torch.autograd.backward(
                [output for output in outputs if output.requires_grad],
                [torch.tensor(w) for w, output in zip(self.weights, outputs, strict=True) if output.requires_grad],
            )
        parameters = dict(network.named_parameters())
        self.gradients = {
            name: np.zeros_like(arrays[name]) if tensor.grad is None else tensor.grad.numpy()
            for name, tensor in {**inputs, **parameters}.items()
            if name in case.differentiable or name in parameters
        }
        self.after = {name: value.numpy() for name, value in network.state_dict().items()}


def draw_weights(output: Array) -> Array:
    return np.random.default_rng(output.size).standard_normal(output.shape).astype(np.float32)


def assert_close(ours: Array, theirs: Any, what: str) -> None:
    expected = np.asarray(theirs)
    assert ours.shape == expected.shape, what
    np.testing.assert_allclose(
        ours, expected, rtol=0, atol=RTOL * max(1.0, float(np.abs(expected).max())), err_msg=what
    )


def test_every_operator_is_lowered() -> None:
    assert LOWERINGS.keys() == OPS.keys()


def test_what_is_not_lowered_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(LOWERINGS, "Flatten")
    with pytest.raises(UnsupportedOperatorError, match=r"Flatten \(node 'flat'\) cannot be lowered; supported are"):
        lower(sym.Flatten(sym.Variable("data"), name="flat"), {})


@pytest.mark.parametrize("op", sorted(LOWERINGS.keys() - {"Custom"}))  # ours, not MXNet's: test_custom.py
def test_every_lowering_has_a_case(op: str) -> None:
    assert any(case.op == op for case in CASES)


@pytest.mark.parametrize("case", [case for case in CASES if case.expect], ids=lambda case: case.id)
def test_values_are_numpys(case: Case) -> None:
    assert case.expect is not None
    assert_close(Run(case).outputs[0], case.expect(*case.arrays().values()), "output")


@every_case
def test_shapes_are_the_inferred_ones(case: Case) -> None:
    _, shapes, _ = case.symbol().infer_shape(**dict(zip(case.input_names, case.shapes, strict=True)))
    assert [output.shape for output in Run(case).outputs] == shapes


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@every_case
def test_values_gradients_and_states_are_mxnets(case: Case) -> None:
    import mxnet as mx

    ours = Run(case)
    arrays = {name: mx.nd.array(array) for name, array in case.arrays().items()}
    graph = mx.sym.load_json(case.symbol().tojson())
    arguments = {name: arrays[name] for name in graph.list_arguments()}
    states = {name: arrays[name] for name in graph.list_auxiliary_states()}
    gradients = {name: mx.nd.zeros(arrays[name].shape) for name in ours.gradients}
    executor = graph.bind(mx.cpu(), arguments, gradients, "write", states)
    outputs = executor.forward(is_train=case.training)
    for index, (mine, theirs) in enumerate(zip(ours.outputs, outputs, strict=True)):
        assert_close(mine, theirs.asnumpy(), f"output {index}")
    if not case.training:
        return
    executor.backward([mx.nd.array(weights) for weights in ours.weights])
    for name, gradient in gradients.items():
        assert_close(ours.gradients[name], gradient.asnumpy(), f"gradient of {name}")
    for name in ours.names:
        assert_close(ours.after[name], arrays[name].asnumpy(), f"{name} after the step")
