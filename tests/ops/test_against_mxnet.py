"""The registry against real MXNet: names, aliases, parameters, defaults, shapes, JSON."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from tests.ops.examples import EXAMPLES, Example

from mxface.ops import OPS
from mxface.ops.params import REQUIRED

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

LISTED = sorted(OPS.keys() - {"Custom"})
"""Custom's inputs and parameters are those of the Python function that it calls."""

UNLISTED_INPUTS = {"softmax": {"length"}}
"""An input of MXNet's that only a parameter we do not have switches on."""

LEFT_OUT = {"softmax": {"use_length"}, "log_softmax": {"use_length"}}
UNLISTED = {"add_n": {"num_args"}}
"""A parameter that MXNet has and does not describe."""


@cache
def operator_names() -> tuple[str, ...]:
    from mxnet.base import _LIB, check_call, py_str

    names = ctypes.POINTER(ctypes.c_char_p)()
    size = ctypes.c_uint()
    check_call(_LIB.MXListAllOpNames(ctypes.byref(size), ctypes.byref(names)))
    return tuple(py_str(names[i]) for i in range(size.value))


@cache
def describe(name: str) -> tuple[str, dict[str, str], str]:
    """Canonical name, argument -> type text, and the parameter that counts variable inputs."""
    from mxnet.base import _LIB, OpHandle, c_str, check_call, py_str

    handle = OpHandle()
    check_call(_LIB.NNGetOpHandle(c_str(name), ctypes.byref(handle)))
    texts = [ctypes.c_char_p() for _ in range(4)]
    count = ctypes.c_uint()
    lists = [ctypes.POINTER(ctypes.c_char_p)() for _ in range(3)]
    real, description, count_param, return_type = texts
    check_call(
        _LIB.MXSymbolGetAtomicSymbolInfo(
            handle, *map(ctypes.byref, (real, description, count, *lists, count_param, return_type))
        )
    )
    arguments = {py_str(lists[0][i]): py_str(lists[1][i]) for i in range(count.value)}
    return py_str(real.value), arguments, py_str(count_param.value)


def default_text(kind: str) -> str | None:
    match = re.search(r"default=(.*)$", kind)
    return match[1].strip("'") if match else None


@pytest.mark.parametrize("name", LISTED)
def test_names_and_inputs(name: str) -> None:
    spec = OPS[name]
    canonical, arguments, count_param = describe(name)
    assert canonical == name
    for function in spec.functions:
        assert describe(function)[0] == name
    inputs = [key for key, kind in arguments.items() if re.match(r"(NDArray|Symbol)", kind)]
    if spec.count_param is None:
        assert [*spec.slots] == [key for key in inputs if key not in UNLISTED_INPUTS.get(name, ())]
    assert (spec.count_param or "") == count_param


@pytest.mark.parametrize("name", LISTED)
def test_parameters_and_defaults(name: str) -> None:
    spec = OPS[name]
    _, arguments, _ = describe(name)
    theirs = {key: kind for key, kind in arguments.items() if not re.match(r"(NDArray|Symbol)", kind)}
    assert set(theirs) - set(spec.params) == LEFT_OUT.get(name, set())
    described = {key: param for key, param in spec.params.items() if key not in UNLISTED.get(name, ())}
    assert list(described) == [key for key in theirs if key in spec.params]
    for key, param in described.items():
        text = default_text(theirs[key])
        if text is None:
            assert param.default is REQUIRED
        else:
            theirs_parsed: Any = param.parse(text)
            assert param.default == theirs_parsed or np.float32(param.default) == np.float32(theirs_parsed)


@pytest.mark.parametrize("name", sorted(OPS))
def test_no_public_alias_is_missing(name: str) -> None:
    """Names that begin with _sparse_, _npi_ or _npx_ belong to interfaces that 2019 did not use."""
    aliases = {other for other in operator_names() if describe(other)[0] == name and other != name}
    foreign = {other for other in aliases if re.match(r"_(sparse|npi|npx|np)_", other)}
    assert aliases - foreign == set(OPS[name].functions)


@cache
def register_mining(mx: Any) -> None:
    """Tell MXNet of an rpn_fpn_ohem3 with the shapes of 2019's; it is never run."""

    @mx.operator.register("rpn_fpn_ohem3")
    class Mining(mx.operator.CustomOpProp):
        def __init__(self, stride: str, network: str, dataset: str, prefix: str) -> None:
            super().__init__(need_top_grad=False)

        def list_arguments(self) -> list[str]:
            return ["cls_score", "labels"]

        def list_outputs(self) -> list[str]:
            return ["labels", "anchor_weight", "valid_count"]

        def infer_shape(self, in_shape: list[list[int]]) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
            batch, _, anchors = in_shape[0]
            return [in_shape[0], [batch, anchors]], [[batch, anchors], [batch, anchors, 1], [batch, 1]], []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.op}-{EXAMPLES.index(example)}")
def test_json_and_shapes(example: Example) -> None:
    import mxnet as mx

    register_mining(mx)
    ours = example.symbol()
    places = (mx.sym, mx.sym._internal, mx.sym.contrib)
    names = (example.op, example.op, example.op.removeprefix("_contrib_"))
    function = next(getattr(place, name) for place, name in zip(places, names, strict=True) if hasattr(place, name))
    theirs = function(*(mx.sym.Variable(f"in{i}") for i in range(len(example.inputs))), **example.attrs, name="node")
    assert ours.tojson() == theirs.tojson()
    assert ours.list_outputs() == theirs.list_outputs()
    arguments, outputs, states = theirs.infer_shape(**example.input_shapes)
    our_arguments, our_outputs, our_states = ours.infer_shape(**example.input_shapes)
    assert list(our_arguments.items()) == list(zip(theirs.list_arguments(), arguments, strict=True))
    assert our_outputs == outputs
    assert list(our_states.items()) == list(zip(theirs.list_auxiliary_states(), states, strict=True))
