"""`model_slim.py`: a recognition network without its classifier, to embed with."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mxface.cli import HelpFormatter, command
from mxface.formats.checkpoint import one_epoch, params_path
from mxface.graph import Checkpoint, Symbol, load_checkpoint, save_checkpoint

EMBEDDING = "fc1_output"

DESCRIPTION = """\
Cut a checkpoint at its embedding (fc1_output), or at the outputs that are named, and drop the weights of what is cut
off (the classifier's, fc7…); write PREFIXs-symbol.json and PREFIXs-0000.params.

  cd deploy && python model_slim.py --model ../models/model-r34-amf/model,60
  cd deploy && python model_slim.py --model ../models/sdu/model,12 --outputs heatmap_output
"""


def slim(checkpoint: Checkpoint, outputs: Sequence[str] = (EMBEDDING,)) -> Checkpoint:
    """The checkpoint up to these outputs, without the parameters that they do not need.

    A parameter that the whole graph does not read either stays, unless its name begins with fc7 (2019's rule).
    """
    symbol = checkpoint.symbol.select_outputs(outputs)
    cut_off = _variables(checkpoint.symbol) - _variables(symbol)
    args, aux = (
        {name: array for name, array in params.items() if name not in cut_off and not name.startswith("fc7")}
        for params in (checkpoint.arg_params, checkpoint.aux_params)
    )
    return Checkpoint(symbol, args, aux)


def _variables(symbol: Symbol) -> set[str]:
    return {*symbol.list_arguments(), *symbol.list_auxiliary_states()}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the slim checkpoint."""
    parser = argparse.ArgumentParser(prog="model_slim.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--model", default="../models/model-r34-amf/model,60", help="the checkpoint, PREFIX,EPOCH")
    parser.add_argument("--outputs", nargs="+", default=[EMBEDDING], metavar="NAME", help="where to cut")
    args = parser.parse_args(argv)
    prefix, epoch = one_epoch("--model", args.model)
    print("loading", prefix, epoch)
    slimmed = slim(load_checkpoint(prefix, epoch), args.outputs)
    save_checkpoint(f"{prefix}s", 0, slimmed.symbol, slimmed.arg_params, slimmed.aux_params)
    print(f"written: {params_path(f'{prefix}s', 0)}")
    return 0
