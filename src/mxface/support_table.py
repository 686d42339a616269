"""docs/OPERATORS.md: what is computed of each operator, and which networks need it. Nothing in it is kept by hand.

python -m mxface.support_table --output docs/OPERATORS.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mxface.export.operators  # noqa: F401  (fills EXPORTERS)
from mxface.cli import HelpFormatter, command
from mxface.export.registry import EXPORTERS, OPSET, TRAINING_ONLY
from mxface.formats.atomic import atomic_write
from mxface.graph import Symbol, Variable
from mxface.lower import LOWERINGS, Lowering
from mxface.ops import OPS, OpSpec
from mxface.symbols import FAMILIES, get_symbol, heads, mtcnn
from mxface.symbols.gender_age import gender_age_loss
from mxface.symbols.heatmap.blocks import BLOCKS
from mxface.symbols.options import SRC_NET_OUTPUTS

INTRODUCTION = f"""\
# Operators

Written by `python -m mxface.support_table --output docs/OPERATORS.md` from the registries of `ops`, `lower` and
`export`; a test holds it against them.

An operator has MXNet 1.9.1's name, other names, parameters and defaults. `torch` is the function in `mxface.lower` that
computes it, in training too, or Python's or torch's own. `ONNX` is the function in `mxface.export.operators` that
writes its inference form (opset {OPSET}; no node outside of ONNX's own domain). A setting that is not supported is
refused with the node's name before anything is computed, and so is an operator without a form (–). Settings that cannot
change a value (`workspace`, `cudnn_tune`) are accepted. An ONNX file needs weights, slopes and statistics to be
parameters of the checkpoint, not to be computed by the graph.

`used by`: the graphs of `mxface.symbols`; "losses" are the margins and softmaxes of `recognition/train.py`.

| operator | other names | torch | restrictions | ONNX | used by |
|---|---|---|---|---|---|
"""

LOSSES = "losses"

SMALLEST: dict[str, dict[str, Any]] = {
    "fresnet": {"num_layers": 18},
    "fdensenet": {"num_layers": 121},
    "fdpn": {"num_layers": 68},
    "spherenet": {"num_layers": 20},
}
"""The depth that a network needs to be told."""

Call = tuple[str, dict[str, Any]]
"""A network and its options."""

VARIATIONS: dict[str, list[Call]] = {
    "recognition": [
        *(("fresnet", {"net_unit": unit, "net_input": unit - 1, "net_se": True}) for unit in (1, 2, 3)),
        ("fdensenet", {"densenet_dropout": 0.2}),
        ("fresnet", {"net_act": "relu"}),
    ],
    "src": [("fresnet", {"net_unit": unit, "net_input": unit - 1}) for unit in (1, 2, 3)],
    "alignment": [
        *(("heatmap", {"net_sta": 1, "net_dcn": 3, "net_block": block}) for block in BLOCKS),
        *(("heatmap", {"net_block": block}) for block in BLOCKS),
        ("heatmap", {"net_sta": 2}),
        ("heatmap", {"training": True, "net_coherent": True}),
    ],
    "retinaface": [
        *(
            ("mnet", {"use_dcn": dcn, "use_maxout": dcn, "head_module": head})
            for dcn in (1, 2)
            for head in ("SSH", "RF")
        ),
        ("mnet", {"training": True, "head_box": True}),
        ("mnet", {"training": True, "lr_mode": 1}),
        ("mnet", {"use_crop": False, "rpn_feat_stride": (128, 64, 32, 16, 8, 4)}),
    ],
}
"""Options that bring in operators which the defaults do without; the embedding heads besides."""


def operators_used() -> dict[str, set[str]]:
    """Family of networks -> its operators, found by building them."""
    used: dict[str, set[str]] = {}
    for family, symbol in _graphs():
        used.setdefault(family, set()).update(node.op for node in symbol.nodes if not node.is_variable)
    return used


def _graphs() -> Iterator[tuple[str, Symbol]]:
    for family, members in FAMILIES.items():
        calls: list[Call] = [(name, {}) for name in members.networks] + VARIATIONS.get(family, [])
        if "fmobilefacenet" in members.networks:
            outputs = set(SRC_NET_OUTPUTS) & set(members.options.net_outputs)
            calls += [("fmobilefacenet", {"net_output": output}) for output in sorted(outputs)]
        for name, options in calls:
            needed = dict(SMALLEST.get(name, {}))
            if family == "retinaface":
                needed["backbone"] = _backbone(name)
            yield family, get_symbol(name, family=family, **{**needed, **options})
    scores = get_symbol("fmobilenet", family="gender_age", net_multiplier=0.25)
    yield "gender_age", gender_age_loss(scores, batch_size=1)
    for network in (mtcnn.pnet, mtcnn.rnet, mtcnn.onet):
        yield "mtcnn", network()
    size: dict[str, Any] = {"num_classes": 10, "emb_size": 512, "batch_size": 1}
    embedding = Variable("embedding")
    yield LOSSES, heads.softmax_loss(embedding, **size)
    for margin in heads.MARGINS.values():
        yield LOSSES, heads.margin_softmax_loss(embedding, **size, s=64.0, margin=margin)


def _backbone(network: str) -> Symbol:
    """Mobile or residual layers for RetinaFace to build on."""
    if network == "mnet":
        mobile = get_symbol("fmobilenet", family="gender_age", net_multiplier=0.25, net_input=0, net_output="GAP")
        return mobile.get_internals()["conv_14_relu_output"]
    residual = get_symbol("fresnet", family="gender_age", num_layers=18, net_input=0, net_se=False)
    return residual.get_internals()["relu1_output"]


def table() -> str:
    """The text of docs/OPERATORS.md."""
    used = operators_used()
    rows = (
        _row(spec, [family for family, names in used.items() if spec.name in names]) for spec in _sorted_operators()
    )
    return INTRODUCTION + "".join(rows)


def _sorted_operators() -> list[OpSpec]:
    return [OPS[name] for name in sorted(OPS, key=lambda name: name.strip("_").lower())]


def _row(spec: OpSpec, families: Sequence[str]) -> str:
    lowering, exporter = LOWERINGS[spec.name], EXPORTERS.get(spec.name)
    cells = [
        f"`{spec.name}`",
        ", ".join(f"`{name}`" for name in spec.functions),
        _function_text(lowering.function),
        settings_text(spec, lowering),
        _function_text(exporter) if exporter else f"– ({TRAINING_ONLY[spec.name]})",
        ", ".join(families),
    ]
    return f"| {' | '.join(cells)} |\n"


def _function_text(function: Callable[..., Any]) -> str:
    """`pooling.pooling`; of a translation that is a single ONNX node, that node: `Relu`."""
    if "<locals>" in getattr(function, "__qualname__", ""):
        return f"`{function.__name__}`"
    return f"`{function.__module__.rpartition('.')[2].removeprefix('_')}.{function.__name__}`"


def settings_text(spec: OpSpec, lowering: Lowering) -> str:
    """What a node's settings may be, where MXNet has others."""
    words = []
    for name, param in spec.params.items():
        if name in lowering.only:
            words.append(f"{name}: {_values_text(lowering.only[name])}")
        elif name not in {*lowering.keywords, *lowering.positional, *lowering.hints}:
            words.append(f"{name}: {_values_text([param.default])}")
    return "; ".join(words)


def _values_text(values: Any) -> str:
    return " or ".join(f"`{value}`" for value in values)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(
        prog="python -m mxface.support_table", description=__doc__, formatter_class=HelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("docs/OPERATORS.md"), help="file to write")
    args = parser.parse_args(argv)
    with atomic_write(args.output) as file:
        file.write(table().encode())
    sys.stdout.write(f"{args.output}: {len(OPS)} operators\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
