"""Our graphs in real MXNet: it reads them, writes the very text, and infers the same shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mxface.graph import Symbol
from mxface.symbols import get_symbol, mtcnn

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

GRAPHS: dict[str, Callable[[], Symbol]] = {
    "y1": lambda: get_symbol("fmobilefacenet", emb_size=128, net_output="GDC"),
    "r18": lambda: get_symbol("fresnet", num_layers=18),
    "r18 GNAP": lambda: get_symbol("fresnet", num_layers=18, net_output="GNAP", emb_size=256),
    "r18 SE unit 1": lambda: get_symbol("fresnet", num_layers=18, net_unit=1, net_input=0, net_se=1),
    "pnet": mtcnn.pnet,
    "rnet": mtcnn.rnet,
    "onet": mtcnn.onet,
}
SIZES = {"pnet": 12, "rnet": 24, "onet": 48}


@pytest.mark.parametrize("name", GRAPHS)
def test_mxnet_reads_and_sizes_it(name: str, tmp_path: Path) -> None:
    import mxnet as mx

    ours = GRAPHS[name]()
    ours.save(tmp_path / "net-symbol.json")
    theirs = mx.sym.load(str(tmp_path / "net-symbol.json"))
    assert theirs.tojson() == ours.tojson()
    assert theirs.list_outputs() == ours.list_outputs()
    assert theirs.get_internals().list_outputs() == ours.get_internals().list_outputs()
    size = SIZES.get(name, 112)
    arguments, outputs, states = theirs.infer_shape(data=(2, 3, size, size))
    our_arguments, our_outputs, our_states = ours.infer_shape(data=(2, 3, size, size))
    assert list(our_arguments.items()) == list(zip(theirs.list_arguments(), arguments, strict=True))
    assert our_outputs == outputs
    assert list(our_states.items()) == list(zip(theirs.list_auxiliary_states(), states, strict=True))
