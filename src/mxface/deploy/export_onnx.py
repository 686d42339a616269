"""`export_onnx.py`: a checkpoint as one ONNX file, checked against ours before it is written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mxface.cli import HelpFormatter, command, setup_logging
from mxface.errors import ConfigError, DataError
from mxface.export.onnx import refuse_training_only, to_onnx
from mxface.export.parity import BATCH_SIZES, Parity, measure_parity, parity_tolerance
from mxface.export.registry import OPSET
from mxface.formats.atomic import atomic_write
from mxface.formats.checkpoint import one_epoch
from mxface.graph import Checkpoint, load_checkpoint
from mxface.ops import Shape
from mxface.outputs import require_file
from mxface.runtime import Predictor, build_predictor
from mxface.runtime.onnxruntime_engine import OnnxruntimePredictor
from mxface.runtime.predictor import DATA

DESCRIPTION = """\
Write a network as one ONNX file (opset 17) that takes any batch size, and any image size if the network does: pixels
0 to 255 in, as `data` (N, C, H, W) in float32; its outputs under their names. Before it is written, it runs in ONNX
Runtime beside our own engine on random images; the differences are printed and kept in FILE.parity.json. A file that
differs by more than 0.0001 of an output's standard deviation (0.001 with deformable convolution) is not written.

  cd deploy && python export_onnx.py --model ../models/y1/model,0 --output y1.onnx
  cd deploy && python export_onnx.py --model ../models/retina/mnet.25,0 --image-size 640,640 --output mnet25.onnx \\
      --outputs face_rpn_cls_prob_reshape_stride8_output face_rpn_bbox_pred_stride8_output
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the model and its parity."""
    args = parse_arguments(argv)
    setup_logging()
    prefix, epoch = one_epoch("--model", args.model)
    output = args.output or Path(f"{prefix}.onnx")
    require_file(output, "--output")
    checkpoint = select(load_checkpoint(prefix, epoch), args.outputs)
    refuse_training_only(checkpoint.symbol)
    ours = build_predictor(checkpoint, device="cpu")
    image_shape = find_image_shape(ours, args.image_size)
    params = {**checkpoint.arg_params, **checkpoint.aux_params}
    model = to_onnx(checkpoint.symbol, params, input_shapes={DATA: (1, *image_shape)}).SerializeToString()
    theirs = OnnxruntimePredictor(checkpoint.symbol, params, device="cpu", model=model)

    print(f"random images {image_shape}, batches of {BATCH_SIZES}:", flush=True)
    found = measure_parity(ours, theirs, image_shape, centred=args.centred)
    print(*map(parity_text, found), sep="\n")
    tolerance = parity_tolerance(checkpoint.symbol)
    refuse_difference(found, tolerance)
    with atomic_write(output) as file:
        file.write(model)
    report = Path(f"{output}.parity.json")
    with atomic_write(report) as file:
        file.write(parity_json(args.model, image_shape, tolerance, found).encode())
    print(f"written: {output} ({len(model) / 1e6:.1f} MB), {report}")
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="export_onnx.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--model", required=True, metavar="PREFIX,EPOCH", help="the checkpoint")
    parser.add_argument("--output", type=Path, metavar="FILE", help="ONNX file to write (default: PREFIX.onnx)")
    parser.add_argument(
        "--outputs", nargs="+", metavar="NAME", help="outputs from anywhere in the graph (default: its own)"
    )
    parser.add_argument(
        "--image-size", metavar="H,W", help="of the images to check it with (default: a usual one that it takes)"
    )
    parser.add_argument(
        "--centred",
        action="store_true",
        help="check it with (pixel - 127.5) / 128, for a network that does not do this itself (det1 … det4)",
    )
    return parser.parse_args(argv)


def select(checkpoint: Checkpoint, outputs: Sequence[str] | None) -> Checkpoint:
    """The checkpoint with other heads."""
    if not outputs:
        return checkpoint
    return Checkpoint(checkpoint.symbol.select_outputs(outputs), checkpoint.arg_params, checkpoint.aux_params)


def find_image_shape(predictor: Predictor, image_size: str | None) -> Shape:
    """(C, H, W) that the network takes, of the named height and width if there is one."""
    if image_size is None:
        return predictor.input_shape
    try:
        height, width = (int(word) for word in image_size.split(","))
    except ValueError as exc:
        raise ConfigError(f"--image-size {image_size}: give height,width, as in 112,112") from exc
    return predictor.fitting_shape([(height, width)])


def refuse_difference(found: Iterable[Parity], tolerance: float) -> None:
    """Raise DataError where an output is further off than it may be."""
    worst = max(found, key=lambda parity: parity.relative)
    if not worst.relative <= tolerance:
        raise DataError(
            f"output {worst.output} differs by {worst.relative:.2g} of its standard deviation, "
            f"more than {tolerance:g}; nothing is written"
        )


def parity_text(parity: Parity) -> str:
    """One line."""
    shape = "x".join(map(str, parity.shape))
    figures = f"largest difference {parity.largest:.3g}, {parity.relative:.2g} of the standard deviation"
    return f"  {parity.output} {shape}: {figures}"


def parity_json(model: str, image_shape: Shape, tolerance: float, found: Sequence[Parity]) -> str:
    """What is kept beside the file."""
    import onnxruntime
    import torch

    facts = {
        "model": model,
        "opset": OPSET,
        "image_shape": image_shape,
        "batch_sizes": BATCH_SIZES,
        "tolerance": tolerance,
        "worst": max(parity.relative for parity in found),
        "versions": {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__, "numpy": np.__version__},
        "outputs": [asdict(parity) for parity in found],
    }
    return json.dumps(facts, indent=1) + "\n"
