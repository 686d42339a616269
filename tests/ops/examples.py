"""One or more small uses of every operator: attributes, the shapes of its data inputs, and the shapes that follow.

The tests of ops hold them against the rules here and against real MXNet; an operator without an example fails a test.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mxface.graph import Symbol, sym
from mxface.ops import OPS, Shape


class Example(NamedTuple):
    op: str
    inputs: tuple[Shape, ...]
    attrs: dict[str, Any]
    outputs: tuple[Shape, ...]
    inferred: dict[str, Shape] = {}  # noqa: RUF012  (never changed)

    def symbol(self, module: Any = sym) -> Symbol:
        """The node `node`, made by this module or by `mx.sym`."""
        inputs = [module.Variable(f"in{i}") for i in range(len(self.inputs))]
        node = getattr(module, self.op)
        return node(*inputs, **self.attrs, name="node")  # type: ignore[no-any-return]

    @property
    def input_shapes(self) -> dict[str, Shape]:
        return {f"in{i}": shape for i, shape in enumerate(self.inputs)}


CHANNELS = dict.fromkeys(("node_gamma", "node_beta", "node_moving_mean", "node_moving_var"), (4,))
MAP = (2, 4, 6, 6)
ROW = (2, 4)

UNARY = [
    *("abs", "arccos", "arcsin", "arctan", "cos", "exp", "log", "negative", "relu", "rsqrt", "sigmoid", "sin"),
    *("sqrt", "square", "tan", "tanh", "_copy", "BlockGrad", "MakeLoss", "make_loss", "SoftmaxActivation"),
    *("softmax", "log_softmax", "L2Normalization", "Dropout"),
]
SAME = ["elemwise_add", "elemwise_sub", "elemwise_mul", "elemwise_div", "_power", "_maximum", "_minimum"]
BROADCAST = [name for name in sorted(OPS) if name.startswith("broadcast_")]
SCALAR = [name for name in sorted(OPS) if name.endswith("_scalar")]

EXAMPLES = [
    *(Example(name, (MAP,), {}, (MAP,)) for name in UNARY),
    *(Example(name, (MAP, MAP), {}, (MAP,)) for name in SAME),
    *(Example(name, ((2, 1, 6), (2, 4, 1)), {}, ((2, 4, 6),)) for name in BROADCAST),
    Example("broadcast_div", ((1,), MAP), {}, (MAP,)),
    *(Example(name, (ROW,), {"scalar": 2.5}, (ROW,)) for name in SCALAR),
    Example("clip", (ROW,), {"a_min": 0.0, "a_max": 1.0}, (ROW,)),
    Example("smooth_l1", (ROW,), {"scalar": 3.0}, (ROW,)),
    Example("Activation", (MAP,), {"act_type": "softsign"}, (MAP,)),
    Example("BatchNorm", (MAP,), {}, (MAP,), CHANNELS),
    Example("BatchNorm", ((2, 5, 4),), {"axis": -1, "fix_gamma": False}, ((2, 5, 4),), CHANNELS),
    Example("BatchNorm", (MAP,), {"output_mean_var": True}, (MAP, (4,), (4,)), CHANNELS),
    Example("Concat", (MAP, (2, 3, 6, 6)), {}, ((2, 7, 6, 6),)),
    Example("Concat", (ROW, ROW, ROW), {"dim": 0}, ((6, 4),)),
    Example(
        "Convolution",
        (MAP,),
        {"num_filter": 8, "kernel": (3, 2), "stride": (2, 1), "pad": (1, 0), "num_group": 2},
        ((2, 8, 3, 5),),
        {"node_weight": (8, 2, 3, 2), "node_bias": (8,)},
    ),
    Example(
        "Convolution",
        (MAP,),
        {"num_filter": 3, "kernel": (3, 3), "dilate": (2, 2), "no_bias": True},
        ((2, 3, 2, 2),),
        {"node_weight": (3, 4, 3, 3)},
    ),
    Example(
        "Convolution",
        ((2, 4, 9),),
        {"num_filter": 3, "kernel": (4,)},
        ((2, 3, 6),),
        {"node_weight": (3, 4, 4), "node_bias": (3,)},
    ),
    Example(
        "Deconvolution",
        (MAP,),
        {"num_filter": 6, "kernel": (4, 4), "stride": (2, 2), "pad": (1, 1), "adj": (1, 0), "num_group": 2},
        ((2, 6, 13, 12),),
        {"node_weight": (4, 3, 4, 4)},
    ),
    Example(
        "Deconvolution",
        (MAP,),
        {"num_filter": 6, "kernel": (2, 2), "stride": (2, 2), "target_shape": (11, 12), "no_bias": False},
        ((2, 6, 11, 12),),
        {"node_weight": (4, 6, 2, 2), "node_bias": (6,)},
    ),
    Example(
        "_contrib_DeformableConvolution",
        (MAP, (2, 36, 3, 6)),
        {"num_filter": 8, "kernel": (3, 3), "stride": (2, 1), "pad": (1, 1), "num_deformable_group": 2, "num_group": 2},
        ((2, 8, 3, 6),),
        {"node_weight": (8, 2, 3, 3), "node_bias": (8,)},
    ),
    Example(
        "_contrib_DeformableConvolution",
        (MAP, (2, 18, 4, 4)),
        {"num_filter": 8, "kernel": (3, 3), "no_bias": True},
        ((2, 8, 4, 4),),
        {"node_weight": (8, 4, 3, 3)},
    ),
    Example(
        "_contrib_ModulatedDeformableConvolution",
        (MAP, (2, 12, 5, 4), (2, 6, 5, 4)),
        {"num_filter": 8, "kernel": (2, 3), "no_bias": True, "im2col_step": 1},
        ((2, 8, 5, 4),),
        {"node_weight": (8, 4, 2, 3)},
    ),
    Example("Crop", (MAP, (1, 1, 5, 3)), {}, ((2, 4, 5, 3),)),
    Example("Crop", (MAP,), {"h_w": (2, 3), "offset": (4, 3)}, ((2, 4, 2, 3),)),
    Example("Crop", (MAP,), {"h_w": (2, 3), "center_crop": True}, ((2, 4, 2, 3),)),
    Example(
        "Custom",
        ((2, 2, 12), (2, 12)),
        {"op_type": "rpn_fpn_ohem3", "stride": "8", "network": "mnet", "dataset": "retinaface", "prefix": "face"},
        ((2, 12), (2, 12, 1), (2, 1)),
    ),
    Example("add_n", (ROW, ROW, ROW), {}, (ROW,)),
    Example("Flatten", (MAP,), {}, ((2, 144),)),
    Example(
        "FullyConnected",
        (MAP,),
        {"num_hidden": 5},
        ((2, 5),),
        {"node_weight": (5, 144), "node_bias": (5,)},
    ),
    Example(
        "FullyConnected",
        (MAP,),
        {"num_hidden": 5, "flatten": False, "no_bias": True},
        ((2, 4, 6, 5),),
        {"node_weight": (5, 6)},
    ),
    Example("LeakyReLU", (MAP,), {"act_type": "prelu"}, (MAP,), {"node_gamma": (4,)}),
    Example("LeakyReLU", (MAP,), {"act_type": "elu", "slope": 0.5}, (MAP,)),
    Example("one_hot", ((3,),), {"depth": 5}, ((3, 5),)),
    Example("Pad", (MAP,), {"mode": "edge", "pad_width": (0, 0, 0, 0, 1, 2, 0, 3)}, ((2, 4, 9, 9),)),
    Example("pick", (ROW, (2,)), {"axis": 1}, ((2,),)),
    Example("pick", (ROW, (2, 1)), {"axis": 1, "keepdims": True}, ((2, 1),)),
    Example("Pooling", (MAP,), {"kernel": (3, 3), "stride": (2, 2)}, ((2, 4, 2, 2),)),
    Example("Pooling", (MAP,), {"kernel": (3, 3), "stride": (2, 2), "pooling_convention": "full"}, ((2, 4, 3, 3),)),
    Example("Pooling", (MAP,), {"kernel": (3, 3), "pad": (1, 1), "pool_type": "avg"}, (MAP,)),
    Example("Pooling", (MAP,), {"kernel": (7, 7), "global_pool": True, "pool_type": "avg"}, ((2, 4, 1, 1),)),
    *(Example(name, (MAP,), {"axis": [2, 3]}, (ROW,)) for name in ("sum", "mean", "max", "min")),
    *(Example(name, (MAP,), {}, ((1,),)) for name in ("sum", "mean", "max", "min")),
    Example("sum", (MAP,), {"axis": -1, "keepdims": True}, ((2, 4, 6, 1),)),
    Example("mean", (MAP,), {"axis": (1, 2), "exclude": True}, ((4, 6),)),
    Example("Reshape", (MAP,), {"shape": (0, 2, -1, 0)}, ((2, 2, 12, 6),)),
    Example("Reshape", (MAP,), {"shape": (-2,)}, (MAP,)),
    Example("Reshape", (MAP,), {"shape": (-3, -3)}, ((8, 36),)),
    Example("Reshape", (MAP,), {"shape": (0, -4, -1, 2, -2)}, ((2, 2, 2, 6, 6),)),
    Example("Reshape", (MAP,), {"shape": (-1, 0), "reverse": True}, ((48, 6),)),
    Example("transpose", (MAP,), {}, ((6, 6, 4, 2),)),
    Example("transpose", ((2, 3, 4),), {"axes": (0, 2, 1)}, ((2, 4, 3),)),
    Example("expand_dims", (ROW,), {"axis": 1}, ((2, 1, 4),)),
    Example("expand_dims", (ROW,), {"axis": -1}, ((2, 4, 1),)),
    Example("reverse", (MAP,), {"axis": 3}, (MAP,)),
    Example("tile", (ROW,), {"reps": (3, 1, 2)}, ((3, 2, 8),)),
    Example("tile", (MAP,), {"reps": (2,)}, ((2, 4, 6, 12),)),
    Example("slice", (MAP,), {"begin": (None, None, 1, 1), "end": (None, None, None, -1)}, ((2, 4, 5, 4),)),
    Example("slice", (MAP,), {"begin": (1,), "end": (2,)}, ((1, 4, 6, 6),)),
    Example("slice", ((7,),), {"begin": (None,), "end": (None,), "step": (-2,)}, ((4,),)),
    Example("slice_axis", (MAP,), {"axis": 1, "begin": 1, "end": None}, ((2, 3, 6, 6),)),
    Example("slice_axis", (MAP,), {"axis": -1, "begin": -3, "end": -1}, ((2, 4, 6, 2),)),
    Example("SliceChannel", (MAP,), {"num_outputs": 2}, ((2, 2, 6, 6),) * 2),
    Example("SliceChannel", (MAP,), {"num_outputs": 4, "squeeze_axis": True}, ((2, 6, 6),) * 4),
    Example("SoftmaxOutput", (ROW,), {}, (ROW,), {"node_label": (2,)}),
    Example("SoftmaxOutput", (MAP,), {"multi_output": True}, (MAP,), {"node_label": (2, 36)}),
    Example("UpSampling", (MAP,), {"scale": 2, "sample_type": "nearest"}, ((2, 4, 12, 12),)),
    Example("UpSampling", (MAP, (2, 3, 3, 3)), {"scale": 2, "sample_type": "nearest"}, ((2, 7, 12, 12),)),
    Example(
        "UpSampling",
        (MAP, MAP),
        {"scale": 2, "sample_type": "nearest", "multi_input_mode": "sum"},
        ((2, 4, 12, 12),),
    ),
]
