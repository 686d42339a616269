"""`model_slim.py`: a recognition network without its classifier, to embed with."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mxface.cli import HelpFormatter, command
from mxface.errors import ConfigError
from mxface.formats.checkpoint import params_path, split_model
from mxface.graph import Checkpoint, load_checkpoint, save_checkpoint

DESCRIPTION = """\
Cut a checkpoint at its embedding (fc1_output) and drop the classifier's weights (fc7…); write PREFIXs-symbol.json and
PREFIXs-0000.params.

  cd deploy && python model_slim.py --model ../models/model-r34-amf/model,60
"""


def slim(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint up to fc1_output, without the arguments whose names begin with fc7."""
    args = {name: array for name, array in checkpoint.arg_params.items() if not name.startswith("fc7")}
    return Checkpoint(checkpoint.symbol.get_internals()["fc1_output"], args, checkpoint.aux_params)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the slim checkpoint."""
    parser = argparse.ArgumentParser(prog="model_slim.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--model", default="../models/model-r34-amf/model,60", help="the checkpoint, PREFIX,EPOCH")
    args = parser.parse_args(argv)
    prefix, epochs = split_model(args.model)
    if len(epochs) != 1:
        raise ConfigError(f"--model {args.model}: name one epoch, as in ../models/model-r34-amf/model,60")
    print("loading", prefix, epochs[0])
    slimmed = slim(load_checkpoint(prefix, epochs[0]))
    save_checkpoint(f"{prefix}s", 0, slimmed.symbol, slimmed.arg_params, slimmed.aux_params)
    print(f"written: {params_path(f'{prefix}s', 0)}")
    return 0
