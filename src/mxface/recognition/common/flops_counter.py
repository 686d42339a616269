"""`flops_counter.py`: the operations of a saved network's forward pass, counted as 2019 counted them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mxface.cli import HelpFormatter, command
from mxface.formats.checkpoint import one_epoch
from mxface.graph import load_checkpoint
from mxface.graph.flops import count_flops, flops_text

INPUT = (1, 3, 112, 112)

DESCRIPTION = """\
Count the operations of a saved network on one image of 112x112: convolutions and fully connected layers,
multiplications and additions apart.

  cd recognition/common && python flops_counter.py --model ../../models/r50-arcface-emore/model,1
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the figure."""
    parser = argparse.ArgumentParser(prog="flops_counter.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    default = "../models2/r50fc-arcface-emore/model,1"
    parser.add_argument("--model", default=default, help="the checkpoint, PREFIX,EPOCH")
    prefix, epoch = one_epoch("--model", parser.parse_args(argv).model)
    symbol = load_checkpoint(prefix, epoch).symbol
    print("FLOPs:", flops_text(count_flops(symbol, data=INPUT)))
    return 0
