"""Our graphs in real MXNet: it reads them, writes the very text, and infers the same shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.symbols import smallest

from mxface.graph import Symbol
from mxface.symbols import get_symbol, mtcnn
from mxface.symbols.gender_age import gender_age_loss

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

GRAPHS: dict[str, Callable[[], Symbol]] = {
    "y1": lambda: get_symbol("fmobilefacenet", emb_size=128, net_output="GDC"),
    "r18 GNAP": lambda: get_symbol("fresnet", num_layers=18, net_output="GNAP", emb_size=256),
    "r18 SE unit 1": lambda: get_symbol("fresnet", num_layers=18, net_unit=1, net_input=0, net_se=1),
    "sdu": lambda: get_symbol("heatmap", family="alignment", net_sta=1, net_dcn=3, net_block="cab"),
    "hourglass trained": lambda: get_symbol("heatmap", family="alignment", training=True),
    "mnet deformable": lambda: smallest.build("mnet", family="retinaface", use_dcn=2),
    "gender and age trained": lambda: gender_age_loss(
        get_symbol("fmobilenet", family="gender_age", net_multiplier=0.25), batch_size=2
    ),
    "pnet": mtcnn.pnet,
    "rnet": mtcnn.rnet,
    "onet": mtcnn.onet,
}
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "pnet": {"data": (2, 3, 12, 12)},
    "rnet": {"data": (2, 3, 24, 24)},
    "onet": {"data": (2, 3, 48, 48)},
    "sdu": {"data": (2, 3, 128, 128)},
    "hourglass trained": {"data": (2, 3, 128, 128)},
    "gender and age trained": {"data": (2, 3, 112, 112), "softmax_label": (2, 101)},
}
SHAPES_OF_FAMILY = {"alignment": (2, 3, 128, 128)}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph(name: str, tmp_path: Path) -> None:
    assert_mxnet_reads_and_sizes(GRAPHS[name](), SHAPES.get(name, {"data": (2, 3, 112, 112)}), tmp_path)


@pytest.mark.parametrize(("family", "network"), smallest.parameters(smallest.NETWORKS))
def test_every_network(family: str, network: str, tmp_path: Path) -> None:
    shapes = {"data": SHAPES_OF_FAMILY.get(family, (2, 3, 112, 112))}
    assert_mxnet_reads_and_sizes(smallest.build(network, family=family), shapes, tmp_path)


def assert_mxnet_reads_and_sizes(ours: Symbol, shapes: dict[str, tuple[int, ...]], folder: Path) -> None:
    import mxnet as mx

    ours.save(folder / "net-symbol.json")
    theirs = mx.sym.load(str(folder / "net-symbol.json"))
    assert theirs.tojson() == ours.tojson()
    assert theirs.list_outputs() == ours.list_outputs()
    assert theirs.get_internals().list_outputs() == ours.get_internals().list_outputs()
    arguments, outputs, states = theirs.infer_shape(**shapes)
    our_arguments, our_outputs, our_states = ours.infer_shape(**shapes)
    assert list(our_arguments.items()) == list(zip(theirs.list_arguments(), arguments, strict=True))
    assert our_outputs == outputs
    assert list(our_states.items()) == list(zip(theirs.list_auxiliary_states(), states, strict=True))
