"""Small uses of every operator: how its inputs are drawn and, where that is simple, what numpy says.

`tests/lower` runs them through `lower()`, against numpy here and against real MXNet, values and gradients, where it is
installed. An operator that is lowered and has no case fails a test.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxface.graph import Symbol, sym
from mxface.ops import Shape

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Case:
    """`op` with `attrs` on inputs of `shapes`. `draws` says how each is filled: normal, positive, unit, or class:N.

    `expect` computes the first output from the inputs.
    """

    op: str
    shapes: tuple[Shape, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    draws: tuple[str, ...] = ()
    expect: Callable[..., Any] | None = None
    training: bool = True

    @property
    def id(self) -> str:
        words = [f"{key}={value}".replace(" ", "") for key, value in self.attrs.items()]
        sizes = ["x".join(map(str, shape)) for shape in self.shapes]
        return "-".join([self.op, *sizes, *words])

    @property
    def input_names(self) -> list[str]:
        return [f"in{i}" for i in range(len(self.shapes))]

    @property
    def differentiable(self) -> list[str]:
        """Inputs that are not class numbers."""
        draws = self.draws or ("normal",) * len(self.shapes)
        return [name for name, draw in zip(self.input_names, draws, strict=True) if not draw.startswith("class")]

    def symbol(self) -> Symbol:
        variables = [sym.Variable(name) for name in self.input_names]
        return getattr(sym, self.op)(*variables, **self.attrs, name="node")  # type: ignore[no-any-return]

    def arrays(self) -> dict[str, Array]:
        """Values of every variable: inputs, then parameters and states."""
        rng = np.random.default_rng(zlib.crc32(self.id.encode()))
        draws = self.draws or ("normal",) * len(self.shapes)
        inputs = dict(zip(self.input_names, self.shapes, strict=True))
        arrays = {name: draw_array(rng, draw, inputs[name]) for name, draw in zip(inputs, draws, strict=True)}
        arguments, _, states = self.symbol().infer_shape(**inputs)
        for name, shape in {**arguments, **states}.items():
            if name not in arrays:
                arrays[name] = draw_array(rng, "positive" if name.endswith(("_var", "_gamma")) else "normal", shape)
        return arrays


def draw_array(rng: np.random.Generator, draw: str, shape: Shape) -> Array:
    kind, _, classes = draw.partition(":")
    if kind == "class":  # one number above and one below the classes among them
        values = rng.integers(0, int(classes), shape)
        values.flat[0], values.flat[-1] = int(classes), -1
        return values.astype(np.float32)
    if kind == "positive":
        return rng.uniform(0.2, 2.0, shape).astype(np.float32)
    if kind == "unit":
        return rng.uniform(-0.95, 0.95, shape).astype(np.float32)
    return rng.standard_normal(shape).astype(np.float32)


MAP = (2, 6, 7, 9)
ROW = (4, 5)


def softmax(data: Array, axis: int) -> Array:
    powers = np.exp(data - data.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def one_hot_rows(indices: Array, depth: int) -> Array:
    return (indices[..., None].astype(int) == np.arange(depth)).astype(np.float32)


def l2_normalized(data: Array, axes: tuple[int, ...]) -> Array:
    return data / np.sqrt(np.square(data).sum(axes, keepdims=True) + 1e-10)


def shared_slope(data: Array, slope: Array) -> Array:
    return np.where(data > 0, data, slope.reshape(1, -1, *[1] * (data.ndim - 2)) * data)


UNARY: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "abs": ("normal", np.abs),
    "arccos": ("unit", np.arccos),
    "arcsin": ("unit", np.arcsin),
    "arctan": ("normal", np.arctan),
    "cos": ("normal", np.cos),
    "exp": ("normal", np.exp),
    "log": ("positive", np.log),
    "negative": ("normal", np.negative),
    "relu": ("normal", lambda x: np.maximum(x, 0)),
    "rsqrt": ("positive", lambda x: 1 / np.sqrt(x)),
    "sigmoid": ("normal", lambda x: 1 / (1 + np.exp(-x))),
    "sin": ("normal", np.sin),
    "sqrt": ("positive", np.sqrt),
    "square": ("normal", np.square),
    "tan": ("unit", np.tan),
    "tanh": ("normal", np.tanh),
}

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "elemwise_add": np.add,
    "elemwise_sub": np.subtract,
    "elemwise_mul": np.multiply,
    "elemwise_div": np.divide,
    "_power": np.power,
    "_maximum": np.maximum,
    "_minimum": np.minimum,
}

BROADCAST: dict[str, Callable[[Any, Any], Any]] = {
    "broadcast_add": np.add,
    "broadcast_sub": np.subtract,
    "broadcast_mul": np.multiply,
    "broadcast_div": np.divide,
    "broadcast_power": np.power,
    "broadcast_maximum": np.maximum,
    "broadcast_minimum": np.minimum,
}

SCALAR: dict[str, Callable[[Any], Any]] = {
    "_plus_scalar": lambda x: x + 2.5,
    "_minus_scalar": lambda x: x - 2.5,
    "_rminus_scalar": lambda x: 2.5 - x,
    "_mul_scalar": lambda x: x * 2.5,
    "_div_scalar": lambda x: x / 2.5,
    "_rdiv_scalar": lambda x: 2.5 / x,
    "_power_scalar": lambda x: x**2.5,
    "_rpower_scalar": lambda x: 2.5**x,
    "_maximum_scalar": lambda x: np.maximum(x, 2.5),
    "_minimum_scalar": lambda x: np.minimum(x, 2.5),
}

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softrelu": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
}

REDUCTIONS: dict[str, Callable[..., Any]] = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min}


def reduction_cases(op: str, function: Callable[..., Any]) -> list[Case]:
    return [
        Case(op=op, shapes=(MAP,), expect=lambda x: function(x).reshape(1)),
        Case(op=op, shapes=(MAP,), attrs={"axis": ()}, expect=lambda x: function(x).reshape(1)),
        Case(op=op, shapes=(MAP,), attrs={"axis": 1, "keepdims": True}, expect=lambda x: function(x, 1, keepdims=True)),
        Case(op=op, shapes=(MAP,), attrs={"axis": (2, -1)}, expect=lambda x: function(x, (2, 3))),
        Case(op=op, shapes=(MAP,), attrs={"axis": (1,), "exclude": True}, expect=lambda x: function(x, (0, 2, 3))),
    ]


def convolution_cases(op: str) -> list[Case]:
    settings: list[dict[str, Any]] = [
        {"kernel": (3, 3), "pad": (1, 1), "no_bias": True},
        {"kernel": (3, 2), "stride": (2, 1), "pad": (1, 0), "num_group": 2, "no_bias": False},
        {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "num_group": 6, "no_bias": True},
        {"kernel": (2, 3), "dilate": (2, 1), "stride": (1, 2), "workspace": 512, "no_bias": False},
        {"kernel": (1, 1), "no_bias": True},
    ]
    return [Case(op=op, shapes=(MAP,), attrs={"num_filter": 6, **setting}) for setting in settings]


def deformable_cases() -> list[Case]:
    """Offsets of about a pixel lead beyond the border, too.

    MXNet has no gradient of the modulated form on the CPU; test_deformable_convolution.py has another proof of it.
    """
    settings: list[dict[str, Any]] = [
        {"kernel": (3, 3), "pad": (1, 1), "no_bias": True},
        {"kernel": (3, 2), "stride": (2, 1), "pad": (1, 0), "num_group": 2},
        {"kernel": (2, 3), "dilate": (2, 1), "stride": (1, 2), "num_deformable_group": 3, "workspace": 512},
        {"kernel": (3, 3), "pad": (2, 2), "stride": (2, 2), "num_deformable_group": 2, "num_group": 3},
    ]
    sizes = [((7, 9), 9, 1), ((4, 8), 6, 1), ((5, 4), 6, 3), ((5, 6), 9, 2)]
    cases = []
    for setting, (positions, taps, groups) in zip(settings, sizes, strict=True):
        offset, mask = ((2, count * taps * groups, *positions) for count in (2, 1))
        attrs = {"num_filter": 6, **setting}
        cases.append(Case(op="_contrib_DeformableConvolution", shapes=(MAP, offset), attrs=attrs))
        modulated = "_contrib_ModulatedDeformableConvolution"
        cases.append(Case(op=modulated, shapes=(MAP, offset, mask), attrs=attrs, training=False))
    return cases


def batch_norm_cases() -> list[Case]:
    settings: list[dict[str, Any]] = [
        {},
        {"fix_gamma": False, "eps": 2e-05, "momentum": 0.95},
        {"fix_gamma": False, "use_global_stats": True},
        {"fix_gamma": True, "use_global_stats": True},
    ]
    cases = [
        Case(op="BatchNorm", shapes=(shape,), attrs=setting, training=training)
        for setting in settings
        for shape in (MAP, ROW)
        for training in (True, False)
    ]
    return [*cases, Case(op="BatchNorm", shapes=((2, 5, 4),), attrs={"axis": -1, "fix_gamma": False})]


def pooling_cases() -> list[Case]:
    windows: list[dict[str, Any]] = [
        {"kernel": (2, 2)},
        {"kernel": (3, 3), "stride": (2, 2)},
        {"kernel": (3, 2), "stride": (2, 3), "pad": (1, 1)},
        {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 0)},
        {"kernel": (3, 3), "stride": (1, 1), "pad": (1, 1)},
    ]
    cases = [
        Case(op="Pooling", shapes=(MAP,), attrs={**window, "pool_type": kind, "pooling_convention": convention})
        for window in windows
        for kind in ("max", "avg")
        for convention in ("valid", "full")
    ]
    inside = {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "pool_type": "avg", "count_include_pad": False}
    whole: dict[str, Any] = {"kernel": (2, 2), "global_pool": True}
    return [
        *cases,
        Case(op="Pooling", shapes=(MAP,), attrs=inside),
        Case(op="Pooling", shapes=(MAP,), attrs={**inside, "pooling_convention": "full"}),
        Case(
            op="Pooling",
            shapes=(MAP,),
            attrs={**whole, "pool_type": "avg"},
            expect=lambda x: x.mean((2, 3), keepdims=True),
        ),
        Case(
            op="Pooling",
            shapes=(MAP,),
            attrs={**whole, "pool_type": "max"},
            expect=lambda x: x.max((2, 3), keepdims=True),
        ),
    ]


def softmax_output_cases() -> list[Case]:
    settings: list[dict[str, Any]] = [
        {},
        {"normalization": "batch", "grad_scale": 0.5},
        {"normalization": "valid"},
        {"normalization": "valid", "use_ignore": True, "ignore_label": 2, "grad_scale": 3.0},
        {"use_ignore": True, "ignore_label": -1},
    ]
    classes = ("normal", "class:5")
    return [
        *(
            Case(
                op="SoftmaxOutput", shapes=(ROW, (4,)), attrs=setting, draws=classes, expect=lambda x, _: softmax(x, 1)
            )
            for setting in settings
        ),
        *(
            Case(
                op="SoftmaxOutput",
                shapes=((2, 5, 3, 4), (2, 12)),
                attrs={**setting, "multi_output": True},
                draws=classes,
                expect=lambda x, _: softmax(x, 1),
            )
            for setting in settings
        ),
        Case(
            op="SoftmaxOutput",
            shapes=((2, 3, 5), (2, 3)),
            attrs={"preserve_shape": True},
            draws=classes,
            expect=lambda x, _: softmax(x, 2),
        ),
        Case(op="SoftmaxOutput", shapes=(ROW, ROW), attrs={"grad_scale": 2.0}, draws=("normal", "positive")),
    ]


CASES = [
    *(Case(op=op, shapes=(MAP,), draws=(draw,), expect=function) for op, (draw, function) in UNARY.items()),
    *(Case(op=op, shapes=(ROW, ROW), draws=("positive",) * 2, expect=function) for op, function in BINARY.items()),
    *(
        Case(op=op, shapes=((2, 1, 6), (2, 4, 1)), draws=("positive",) * 2, expect=function)
        for op, function in BROADCAST.items()
    ),
    Case(op="broadcast_div", shapes=((1, 1, 1, 1), MAP), draws=("positive",) * 2, expect=np.divide),
    *(
        Case(op=op, shapes=(ROW,), attrs={"scalar": 2.5}, draws=("positive",), expect=function)
        for op, function in SCALAR.items()
    ),
    Case(op="clip", shapes=(ROW,), attrs={"a_min": -0.5, "a_max": 0.7}, expect=lambda x: np.clip(x, -0.5, 0.7)),
    Case(
        op="smooth_l1",
        shapes=(ROW,),
        attrs={"scalar": 3.0},
        expect=lambda x: np.where(np.abs(x) < 1 / 9, 4.5 * x * x, np.abs(x) - 0.5 / 9),
    ),
    Case(op="smooth_l1", shapes=(ROW,), attrs={"scalar": 1.0}),
    *(
        Case(op="Activation", shapes=(MAP,), attrs={"act_type": kind}, expect=function)
        for kind, function in ACTIVATIONS.items()
    ),
    *batch_norm_cases(),
    Case(op="Concat", shapes=(MAP, (2, 3, 7, 9)), expect=lambda *x: np.concatenate(x, 1)),
    Case(op="Concat", shapes=(ROW, ROW, ROW), attrs={"dim": 0}, expect=lambda *x: np.concatenate(x, 0)),
    *convolution_cases("Convolution"),
    Case(op="Convolution", shapes=((2, 4, 9),), attrs={"num_filter": 3, "kernel": (4,), "stride": (2,)}),
    Case(op="Convolution", shapes=((2, 2, 4, 5, 6),), attrs={"num_filter": 3, "kernel": (2, 3, 2), "pad": (0, 1, 1)}),
    *convolution_cases("Deconvolution"),
    Case(
        op="Deconvolution",
        shapes=(MAP,),
        attrs={"num_filter": 4, "kernel": (4, 4), "stride": (2, 2), "pad": (1, 1), "adj": (1, 0), "num_group": 2},
    ),
    *deformable_cases(),
    Case(op="Crop", shapes=(MAP, (1, 1, 5, 3)), expect=lambda x, _: x[:, :, :5, :3]),
    Case(op="Crop", shapes=(MAP, (1, 1, 5, 3)), attrs={"offset": (1, 4)}, expect=lambda x, _: x[:, :, 1:6, 4:7]),
    Case(op="Crop", shapes=(MAP,), attrs={"h_w": (2, 3), "offset": (4, 3)}, expect=lambda x: x[:, :, 4:6, 3:6]),
    Case(op="Crop", shapes=(MAP,), attrs={"h_w": (2, 4), "center_crop": True}, expect=lambda x: x[:, :, 2:4, 2:6]),
    Case(op="Dropout", shapes=(MAP,), attrs={"p": 0.4}, training=False, expect=lambda x: x),
    Case(op="Dropout", shapes=(MAP,), attrs={"p": 0.0}, expect=lambda x: x),
    Case(op="add_n", shapes=(ROW, ROW, ROW), expect=lambda *x: sum(x)),
    Case(op="Flatten", shapes=(MAP,), expect=lambda x: x.reshape(2, -1)),
    Case(op="FullyConnected", shapes=(MAP,), attrs={"num_hidden": 5}),
    Case(op="FullyConnected", shapes=(MAP,), attrs={"num_hidden": 5, "flatten": False, "no_bias": True}),
    *(Case(op=op, shapes=(ROW,), expect=lambda x: x) for op in ("_copy", "BlockGrad", "MakeLoss", "make_loss")),
    Case(op="MakeLoss", shapes=(ROW,), attrs={"grad_scale": 0.25, "normalization": "batch"}),
    Case(op="MakeLoss", shapes=(ROW,), attrs={"grad_scale": 0.25, "normalization": "valid", "valid_thresh": 0.3}),
    Case(op="L2Normalization", shapes=(MAP,), expect=lambda x: l2_normalized(x, (1, 2, 3))),
    Case(op="L2Normalization", shapes=(MAP,), attrs={"mode": "channel"}, expect=lambda x: l2_normalized(x, (1,))),
    Case(
        op="L2Normalization",
        shapes=(MAP,),
        attrs={"mode": "spatial", "eps": 1e-10},
        expect=lambda x: l2_normalized(x, (2, 3)),
    ),
    *(
        Case(op="LeakyReLU", shapes=(shape,), attrs={"act_type": "prelu"}, expect=shared_slope)
        for shape in (MAP, ROW, (2, 5, 4))
    ),
    Case(op="LeakyReLU", shapes=(MAP, (1,)), attrs={"act_type": "prelu"}, expect=shared_slope),
    Case(op="LeakyReLU", shapes=(MAP,), attrs={"slope": 0.1}, expect=lambda x: np.where(x > 0, x, 0.1 * x)),
    Case(
        op="LeakyReLU",
        shapes=(MAP,),
        attrs={"act_type": "elu", "slope": 0.5},
        expect=lambda x: np.where(x > 0, x, 0.5 * np.expm1(x)),
    ),
    Case(
        op="LeakyReLU",
        shapes=(ROW,),
        attrs={"act_type": "gelu"},
        expect=lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2))),
    ),
    Case(op="one_hot", shapes=((7,),), attrs={"depth": 5}, draws=("class:5",), expect=lambda x: one_hot_rows(x, 5)),
    Case(
        op="one_hot",
        shapes=((2, 3),),
        attrs={"depth": 5, "on_value": 22.4, "off_value": 0.5},
        draws=("class:5",),
        expect=lambda x: 0.5 + np.float32(21.9) * one_hot_rows(x, 5),
    ),
    *(
        Case(
            op="Pad",
            shapes=(MAP,),
            attrs={"mode": mode, "pad_width": (0, 0, 0, 0, 1, 2, 0, 3)},
            expect=lambda x, mode=mode: np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 3)), mode),
        )
        for mode in ("constant", "edge", "reflect")
    ),
    Case(
        op="Pad",
        shapes=(MAP,),
        attrs={"mode": "constant", "pad_width": (0, 0, 0, 0, 1, 0, 1, 0), "constant_value": 2.5},
    ),
    Case(
        op="pick",
        shapes=(ROW, (4,)),
        draws=("normal", "class:5"),
        expect=lambda x, i: x[np.arange(4), np.clip(i, 0, 4).astype(int)],
    ),
    Case(op="pick", shapes=(ROW, (4, 1)), attrs={"axis": 1, "keepdims": True}, draws=("normal", "class:5")),
    Case(op="pick", shapes=(MAP, (2, 7, 9)), attrs={"axis": 1, "mode": "wrap"}, draws=("normal", "class:6")),
    *pooling_cases(),
    *(case for op, function in REDUCTIONS.items() for case in reduction_cases(op, function)),
    Case(op="Reshape", shapes=(MAP,), attrs={"shape": (0, 2, -1, 0)}, expect=lambda x: x.reshape(2, 2, 21, 9)),
    Case(op="Reshape", shapes=(MAP,), attrs={"shape": (-3, -2)}, expect=lambda x: x.reshape(12, 7, 9)),
    Case(op="Reshape", shapes=(MAP,), attrs={"shape": (0, -4, -1, 2, -2)}, expect=lambda x: x.reshape(2, 3, 2, 7, 9)),
    Case(op="Reshape", shapes=(MAP,), attrs={"shape": (-1, 0), "reverse": True}, expect=lambda x: x.reshape(84, 9)),
    Case(op="transpose", shapes=(MAP,), expect=np.transpose),
    Case(op="transpose", shapes=((2, 3, 4),), attrs={"axes": (0, 2, 1)}, expect=lambda x: x.transpose(0, 2, 1)),
    Case(op="expand_dims", shapes=(ROW,), attrs={"axis": 1}, expect=lambda x: x[:, None]),
    Case(op="expand_dims", shapes=(ROW,), attrs={"axis": -1}, expect=lambda x: x[..., None]),
    Case(op="reverse", shapes=(MAP,), attrs={"axis": 3}, expect=lambda x: x[..., ::-1]),
    Case(op="tile", shapes=(MAP,), attrs={"reps": (1, 2, 1, 3)}, expect=lambda x: np.tile(x, (1, 2, 1, 3))),
    Case(op="tile", shapes=(MAP,), attrs={"reps": (2,)}, expect=lambda x: np.tile(x, 2)),
    Case(
        op="slice",
        shapes=(MAP,),
        attrs={"begin": (None, None, 1, 1), "end": (None, None, None, -1)},
        expect=lambda x: x[:, :, 1:, 1:-1],
    ),
    Case(
        op="slice",
        shapes=(MAP,),
        attrs={"begin": (0, 5, None), "end": (1, 1, None), "step": (1, -2, 3)},
        expect=lambda x: x[0:1, 5:1:-2, ::3],
    ),
    Case(op="slice_axis", shapes=(MAP,), attrs={"axis": 1, "begin": 1, "end": None}, expect=lambda x: x[:, 1:]),
    Case(op="slice_axis", shapes=(MAP,), attrs={"axis": -1, "begin": -3, "end": -1}, expect=lambda x: x[..., -3:-1]),
    Case(op="SliceChannel", shapes=(MAP,), attrs={"num_outputs": 3}, expect=lambda x: x[:, :2]),
    Case(op="SliceChannel", shapes=(MAP,), attrs={"num_outputs": 1}, expect=lambda x: x),
    Case(
        op="SliceChannel",
        shapes=(MAP,),
        attrs={"num_outputs": 9, "axis": 3, "squeeze_axis": True},
        expect=lambda x: x[..., 0],
    ),
    Case(op="softmax", shapes=(MAP,), attrs={"axis": 1}, expect=lambda x: softmax(x, 1)),
    Case(op="softmax", shapes=(ROW,), attrs={"temperature": 2.0}, expect=lambda x: softmax(x / 2, -1)),
    Case(op="log_softmax", shapes=(MAP,), attrs={"axis": 1}, expect=lambda x: np.log(softmax(x, 1))),
    Case(op="log_softmax", shapes=(ROW,), attrs={"temperature": 0.5}, expect=lambda x: np.log(softmax(x * 2, -1))),
    Case(op="SoftmaxActivation", shapes=(MAP,), attrs={"mode": "channel"}, expect=lambda x: softmax(x, 1)),
    # on maps, MXNet's own gradient of this mode does not belong to its values: values alone are compared
    Case(op="SoftmaxActivation", shapes=(MAP,), training=False, expect=lambda x: softmax(x, -1)),
    Case(op="SoftmaxActivation", shapes=(ROW,), expect=lambda x: softmax(x, 1)),
    *softmax_output_cases(),
    Case(
        op="UpSampling",
        shapes=(MAP,),
        attrs={"scale": 2, "sample_type": "nearest", "workspace": 128},
        expect=lambda x: x.repeat(2, 2).repeat(2, 3),
    ),
    Case(op="UpSampling", shapes=((2, 6, 4, 6), (2, 3, 2, 3)), attrs={"scale": 2, "sample_type": "nearest"}),
    Case(
        op="UpSampling",
        shapes=((2, 6, 4, 6), (2, 6, 2, 3)),
        attrs={"scale": 2, "sample_type": "nearest", "multi_input_mode": "sum"},
    ),
]
