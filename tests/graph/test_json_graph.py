"""Graphs from the JSON of ten years, and to today's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mxface.errors import FormatError, GraphError, UnsupportedOperatorError
from mxface.graph import Symbol, Variable, load_symbol, sym, symbol_from_text


def graph_text(nodes: list[dict[str, Any]], heads: list[list[int]], **members: Any) -> str:
    arg_nodes = [index for index, node in enumerate(nodes) if node["op"] == "null"]
    return json.dumps({"nodes": nodes, "arg_nodes": arg_nodes, "heads": heads, **members})


DATA = {"op": "null", "name": "data", "inputs": []}


def old_batch_norm(**attributes: Any) -> str:
    """As MXNet 0.8 wrote it: `param`, inputs of two numbers, no moving averages."""
    gamma, beta = ({"op": "null", "param": {}, "name": f"bn_{slot}", "inputs": []} for slot in ("gamma", "beta"))
    bn = {
        "op": "BatchNorm",
        "param": {"eps": "0.001", "fix_gamma": "False"},
        "name": "bn",
        "inputs": [[0, 0], [1, 0], [2, 0]],
        "backward_source_id": -1,
        **attributes,
    }
    return graph_text([{**DATA, "param": {}}, gamma, beta, bn], [[3, 0]])


def test_moving_averages_that_old_files_leave_out_are_put_in() -> None:
    net = symbol_from_text(old_batch_norm())
    assert net.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]
    assert net.nodes[3].attrs == {"eps": "0.001", "fix_gamma": "False", "__init__": '["zero", {}]'}
    assert net.infer_shape(data=(1, 3, 2, 2))[2] == {"bn_moving_mean": (3,), "bn_moving_var": (3,)}


def test_multipliers_of_old_files_find_their_place() -> None:
    net = symbol_from_text(old_batch_norm(attr={"lr_mult": "0.5", "gamma_wd_mult": "0.0"}))
    by_name = {node.name: node.attrs for node in net.nodes}
    assert by_name["bn"]["__lr_mult__"] == "0.5"
    assert by_name["bn_gamma"] == {"__wd_mult__": "0.0"}
    assert by_name["bn_beta"] == {}


def test_old_names_of_operators_become_todays() -> None:
    nodes = [DATA, {"op": "_PlusScalar", "name": "p", "param": {"scalar": "1"}, "inputs": [[0, 0]]}]
    nodes.append({"op": "ElementWiseSum", "name": "s", "param": {"num_args": "2"}, "inputs": [[0, 0], [1, 0]]})
    assert [node.op for node in symbol_from_text(graph_text(nodes, [[2, 0]])).nodes] == [
        "null",
        "_plus_scalar",
        "add_n",
    ]


def test_an_unknown_operator_is_refused_with_its_node() -> None:
    nodes = [DATA, {"op": "Correlation", "name": "loss", "attrs": {}, "inputs": [[0, 0, 0]]}]
    with pytest.raises(
        UnsupportedOperatorError, match=r"operator Correlation \(node 'loss'\) is not supported; supported are"
    ):
        symbol_from_text(graph_text(nodes, [[1, 0, 0]]))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"op": "Flatten", "inputs": [[0, 0, 0], [0, 0, 0]]}, "node 'n': Flatten takes 1 inputs here, not 2"),
        ({"op": "Flatten", "inputs": [[0, 1, 0]]}, "'n' uses output 1 of <null data>, which has 1"),
        ({"op": "Dropout", "attrs": {"q": "1"}, "inputs": [[0, 0, 0]]}, "node 'n': Dropout has no parameter q"),
        ({"op": "Convolution", "inputs": [[0, 0, 0]]}, "node 'n': Convolution needs the parameter kernel"),
    ],
)
def test_a_graph_that_cannot_be(node: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        symbol_from_text(graph_text([DATA, {"name": "n", **node}], [[1, 0, 0]]))


def test_errors_of_a_file_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad-symbol.json"
    path.write_text(graph_text([DATA, {"op": "Sandwich", "name": "n", "inputs": []}], [[1, 0, 0]]))
    with pytest.raises(UnsupportedOperatorError, match=r"bad-symbol\.json: operator Sandwich"):
        load_symbol(path)
    path.write_text("{")
    with pytest.raises(FormatError, match=r"bad-symbol\.json"):
        Symbol.load(path)


def test_a_file_is_read_back(tmp_path: Path) -> None:
    net = sym.SliceChannel(sym.BatchNorm(Variable("data"), name="bn"), num_outputs=2, name="cut")
    net.save(tmp_path / "net-symbol.json")
    again = Symbol.load(tmp_path / "net-symbol.json")
    assert again.tojson() == net.tojson() == (tmp_path / "net-symbol.json").read_text()
    assert again.list_outputs() == ["cut_output0", "cut_output1"]


def test_outputs_nobody_asks_for_are_counted_in_node_row_ptr() -> None:
    net = sym.Dropout(sym.BatchNorm(Variable("data"), name="bn"), name="drop")
    assert net.to_json_graph().node_row_ptr == (0, 1, 2, 3, 4, 5, 8, 10)


def test_real_models_are_read_and_written(assets: Path) -> None:
    """Three generations of JSON: 0.8 (mtcnn), 1.0 (y1), 1.3 (the others)."""
    paths = sorted(assets.glob("*/*-symbol.json"))
    assert paths
    for path in paths:
        text = load_symbol(path).tojson()
        assert symbol_from_text(text).tojson() == text


@pytest.mark.parametrize("model", ["mobilefacenet-y1", "gender-age"])
def test_files_of_mxnet_1_are_written_as_they_were(assets: Path, model: str) -> None:
    path = assets / model / "model-symbol.json"
    ours, stored = json.loads(load_symbol(path).tojson()), json.loads(path.read_text())
    assert ours.pop("attrs") == {"mxnet_version": ["int", 10901]}
    stored.pop("attrs")
    assert ours == stored


def test_outputs_of_the_retinaface_model_are_chosen_by_name(assets: Path) -> None:
    """Its file lists six heads; the boxes and landmarks are in it, but no head needs them."""
    net = load_symbol(assets / "retinaface-mnet25" / "mnet.25-symbol.json")
    names = [
        f"face_rpn_{part}_stride{stride}_output"
        for stride in (32, 16, 8)
        for part in ("cls_prob_reshape", "bbox_pred", "landmark_pred")
    ]
    with pytest.raises(GraphError, match="no output is called 'face_rpn_bbox_pred_stride32_output'"):
        net.get_internals()["face_rpn_bbox_pred_stride32_output"]
    chosen = net.select_outputs(names)
    assert chosen.list_outputs() == names
    shapes = chosen.infer_shape(data=(1, 3, 64, 96))[1]
    assert shapes[:3] == [(1, 4, 2, 3), (1, 8, 2, 3), (1, 20, 2, 3)]
