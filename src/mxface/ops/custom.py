"""Custom: an operator that MXNet calls back into Python for. There is one, RetinaFace's hard example mining.

rpn_fpn_ohem3 takes the scores (N, 2, P) and labels (N, P) of the anchors of one stride, P = anchors x positions, and
gives the labels with all but the hardest anchors at -1, the weight (N, P, 1) of each anchor in the box losses, in the
order positions x anchors, and how many of an image are faces (N, 1).

2019's operator read its numbers from the config of the day. Here they are the node's: `num_anchors` at a position,
`rpn_batch_size` and `rpn_fg_fraction`, at the config's defaults where a graph does not say.
"""

from __future__ import annotations

from collections.abc import Mapping

from mxface.errors import GraphError
from mxface.ops.params import Param, choice, parse_float, parse_size, parse_text
from mxface.ops.shapes import Inference, is_complete
from mxface.ops.spec import OpSpec, Params, Shape, register

OUTPUTS = ("labels", "anchor_weight", "valid_count")


def parse_fraction(text: str) -> float:
    """A number from 0 to 1."""
    value = parse_float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{value} is not from 0 to 1")
    return value


def ohem_shape(_params: Params, inputs: Mapping[str, Shape | None]) -> Inference | None:
    scores = inputs["cls_score"]
    if scores is None or not is_complete(scores):
        return None
    if len(scores) != 3 or scores[1] != 2:
        raise GraphError(f"needs scores of shape (N, 2, anchors), not {scores}")
    labels = (scores[0], scores[2])
    return {"labels": labels}, [labels, (*labels, 1), (scores[0], 1)]


CUSTOM = register(
    OpSpec(
        name="Custom",
        params={
            "op_type": Param(choice("rpn_fpn_ohem3")),
            "stride": Param(parse_size, 0),
            "network": Param(parse_text, ""),
            "dataset": Param(parse_text, ""),
            "prefix": Param(parse_text, ""),
            "num_anchors": Param(parse_size, 2),
            "rpn_batch_size": Param(parse_size, 256),
            "rpn_fg_fraction": Param(parse_fraction, 0.25),
        },
        slots=("cls_score", "labels"),
        outputs=lambda _: OUTPUTS,
        infer_shape=ohem_shape,
    )
)
