"""Hard example mining: against the rules written out anchor by anchor, and inside a training graph.

MXNet does not have this operator; tests/lower/cases.py holds those that it has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.symbols import smallest

from mxface.errors import GraphError
from mxface.graph import Group, Symbol, Variable, sym
from mxface.lower import lower
from mxface.train.initializer import init_params

Array = NDArray[np.float32]
Mined = tuple[Array, Array, Array]


def symbol(**attrs: Any) -> Symbol:
    words: dict[str, Any] = {"op_type": "rpn_fpn_ohem3", "stride": 8, "name": "mining", **attrs}
    outputs: Symbol = sym.Custom(Variable("scores"), Variable("labels"), **words)
    return outputs


def mine(scores: Array, labels: Array, **attrs: Any) -> Mined:
    network = lower(symbol(**attrs), {}, inputs=("scores", "labels"))
    mined, weight, count = (output.numpy() for output in network(torch.tensor(scores), torch.tensor(labels)))
    return mined, weight, count


def mine_slowly(scores: Array, labels: Array, anchors: int, batch: int, fraction: float) -> Mined:
    """spec/retinaface.md §4, an anchor at a time."""
    images, total = labels.shape
    positions = total // anchors
    mined = labels.copy()
    weight, count = np.zeros((images, total, 1), np.float32), np.zeros((images, 1), np.float32)
    for image in range(images):
        difference = [float(scores[image, 1, i]) - float(scores[image, 0, i]) for i in range(total)]
        faces = sorted((i for i in range(total) if labels[image, i] == 1), key=lambda i: difference[i])
        kept = faces[: int(fraction * batch)]
        grounds = sorted((i for i in range(total) if labels[image, i] == 0), key=lambda i: -difference[i])
        for i in (*faces[len(kept) :], *grounds[batch - len(kept) :]):
            mined[image, i] = -1
        for i in kept:
            anchor, position = divmod(i, positions)
            weight[image, position * anchors + anchor] = 1
        count[image] = len(kept)
    return mined, weight, count


def scores_of(differences: list[list[float]]) -> Array:
    faces = np.array(differences, np.float32)
    return np.stack([np.full_like(faces, 0.5), faces + np.float32(0.5)], axis=1)


def test_by_hand() -> None:
    """Two anchors at four positions; of four to keep, one may be a face: that with the lowest score, number 6."""
    labels = np.array([[1, 0, 0, -1, 0, 0, 1, 1]], np.float32)
    scores = scores_of([[3, 0, 5, 9, 1, 2, -1, 4]])
    mined, weight, count = mine(scores, labels, rpn_batch_size=4)
    assert mined.tolist() == [[-1, -1, 0, -1, 0, 0, 1, -1]]  # the easiest background, number 1, is left out
    assert weight[0, :, 0].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]  # 6 is anchor 1 at position 2: 2 * 2 + 1
    assert count.tolist() == [[1]]


def test_fewer_than_asked_for_are_all_kept() -> None:
    labels = np.array([[1, 0, -1, 0], [0, 0, 0, 0]], np.float32)
    mined, weight, count = mine(scores_of([[1, 2, 3, 4]] * 2), labels)
    assert mined.tolist() == labels.tolist()
    assert weight[..., 0].tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    assert count.tolist() == [[1], [0]]


def test_of_equal_scores_the_first_are_kept() -> None:
    labels = np.array([[1, 1, 0, 0, 0, 0]], np.float32)
    mined, _, _ = mine(scores_of([[0] * 6]), labels, rpn_batch_size=4)
    assert mined.tolist() == [[1, -1, 0, 0, 0, -1]]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize(("anchors", "batch", "fraction"), [(2, 256, 0.25), (3, 100, 0.5), (1, 30, 0.99), (4, 16, 0)])
def test_agrees_with_the_rules_anchor_by_anchor(share: float, anchors: int, batch: int, fraction: float) -> None:
    rng = np.random.default_rng(anchors)
    labels = rng.choice([-1, 0, 1], (3, anchors * 120), p=[0.3 * (1 - share), 0.7 * (1 - share), share])
    scores = rng.standard_normal((3, 2, anchors * 120)).astype(np.float32)
    attrs = {"num_anchors": anchors, "rpn_batch_size": batch, "rpn_fg_fraction": fraction}
    ours = mine(scores, labels.astype(np.float32), **attrs)
    expected = mine_slowly(scores, labels.astype(np.float32), anchors, batch, fraction)
    for mine_, theirs in zip(ours, expected, strict=True):
        assert mine_.dtype == np.float32
        np.testing.assert_array_equal(mine_, theirs)


def test_pbox_draws_as_many_at_random() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1], (2, 800)).astype(np.float32)
    scores = rng.standard_normal((2, 2, 800)).astype(np.float32)
    torch.manual_seed(1)
    first, _, count = mine(scores, labels, network="pbox")
    second, _, _ = mine(scores, labels, network="pbox")
    torch.manual_seed(1)
    again, _, _ = mine(scores, labels, network="pbox")
    np.testing.assert_array_equal(first, again)
    assert count.tolist() == [[64], [64]]
    assert (first == 1).sum(1).tolist() == (second == 1).sum(1).tolist() == [64, 64]
    assert (first == 0).sum(1).tolist() == (second == 0).sum(1).tolist() == [192, 192]
    assert (first != second).any()
    assert (first[first >= 0] == labels[first >= 0]).all()


def test_no_gradient_passes() -> None:
    network = lower(symbol(), {}, inputs=("scores", "labels"))
    scores = torch.randn(1, 2, 8, requires_grad=True)
    outputs = network(scores, torch.tensor([[1.0, 0, 0, 1, -1, 0, 0, 1]]))
    assert not any(output.requires_grad for output in outputs)
    (sum(output.sum() for output in outputs) + 0 * scores.sum()).backward()
    assert scores.grad is not None
    assert not scores.grad.any()


def test_anchors_that_do_not_divide_are_refused() -> None:
    with pytest.raises(GraphError, match="8 labels are not those of 3 anchors a position; set num_anchors"):
        mine(scores_of([[0] * 8]), np.zeros((1, 8), np.float32), num_anchors=3)


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"op_type": "proposal"}, "op_type='proposal'"),
        ({"num_anchors": 0}, "num_anchors='0'"),
        ({"rpn_batch_size": "many"}, "rpn_batch_size='many'"),
        ({"rpn_fg_fraction": 1.5}, "rpn_fg_fraction='1.5'"),
        ({"fg_fraction": 0.5}, "fg_fraction"),
    ],
)
def test_wrong_attributes_are_refused(attrs: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        symbol(**attrs).infer_shape(scores=(1, 2, 8))


SIDE = 64
TARGETS = ("_label_", "_target_", "_bbox_weight_", "_landmark_weight_")


def trained(**options: Any) -> tuple[Symbol, dict[str, Array]]:
    """A training graph of the mnet on a small backbone, and random values for all its variables, labels included."""
    graph = smallest.build("mnet", family="retinaface", training=True, head_filter_num=16, **options)
    arguments, _, states = graph.infer_shape(data=(2, 3, SIDE, SIDE))
    rng = np.random.default_rng(0)
    fed = {name: shape for name, shape in arguments.items() if name == "data" or is_target(name)}
    arrays: dict[str, Array] = init_params(
        graph, {name: shape for name, shape in {**arguments, **states}.items() if name not in fed}, "mnet", rng
    )
    for name, shape in fed.items():
        arrays[name] = rng.standard_normal(shape).astype(np.float32)
        if "_label_" in name:
            arrays[name] = rng.choice([-1, 0, 1], shape).astype(np.float32)
        elif "weight" in name:
            arrays[name] = np.ones(shape, np.float32)
    return graph, arrays


def is_target(name: str) -> bool:
    return "_stride" in name and not name.endswith(("_weight", "_bias")) and any(word in name for word in TARGETS)


@pytest.mark.parametrize(
    "options", [{}, {"lr_mode": 1}, {"head_box": True, "num_anchors": 3, "rpn_batch_size": 32, "rpn_fg_fraction": 0.5}]
)
def test_a_training_graph_learns(options: dict[str, Any]) -> None:
    """One step of the real thing: all gradients are there and finite, boxes learn from the kept faces only."""
    graph, arrays = trained(**options)
    fed = [name for name in arrays if name == "data" or is_target(name)]
    network = lower(graph, arrays, inputs=fed, input_shapes={"data": (2, 3, SIDE, SIDE)}).train()
    outputs = dict(zip(graph.list_outputs(), network(*(torch.tensor(arrays[name]) for name in fed)), strict=True))
    limit = int(options.get("rpn_fg_fraction", 0.25) * options.get("rpn_batch_size", 256))
    anchors = options.get("num_anchors", 2)
    for index, stride in enumerate((32, 16, 8)):
        faces = (arrays[f"face_label_stride{stride}"] == 1).sum(1).clip(max=limit)
        mined, weights = (
            outputs[f"blockgrad{index * (5 if options.get('head_box') else 3) + i}_output"] for i in (0, 1)
        )
        assert (mined == 1).sum(1).tolist() == faces.tolist()
        kept = (mined == 1).view(2, anchors, -1)
        torch.testing.assert_close(weights, kept.float().repeat_interleave(4, 1))  # anchor by anchor, 4 values each
        assert (outputs[f"face_rpn_bbox_loss_stride{stride}_output"][weights == 0] == 0).all()
    torch.autograd.backward(
        [o for o in outputs.values() if o.requires_grad],
        [torch.ones_like(o) for o in outputs.values() if o.requires_grad],
    )
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert all(gradients[f"face_rpn_{what}_pred_stride8_weight"].any() for what in ("bbox", "landmark"))


def test_numbers_are_written_where_they_differ() -> None:
    def mining(**options: Any) -> dict[str, str]:
        graph = smallest.build("mnet", family="retinaface", training=True, **options)
        return next(node.attrs for node in graph.nodes if node.op == "Custom")

    assert set(mining()) == {"op_type", "stride", "network", "dataset", "prefix"}
    more = mining(num_anchors=4, rpn_batch_size=128, rpn_fg_fraction=0.5)
    assert (more["num_anchors"], more["rpn_batch_size"], more["rpn_fg_fraction"]) == ("4", "128", "0.5")


def test_labels_cannot_be_left_out() -> None:
    graph, arrays = trained()
    without = {name: array for name, array in arrays.items() if name != "face_label_stride8"}
    with pytest.raises(GraphError, match="1 parameters are missing: face_label_stride8"):
        lower(Group([graph[0], graph[-1]]), without)
