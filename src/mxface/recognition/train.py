"""Train a face recognition network: the command `recognition/train.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from mxface.cli import command
from mxface.recognition.arguments import parse_arguments
from mxface.recognition.training import train_on_ranks

MODULE = "mxface.recognition.train"
DESCRIPTION = """\
Train a face recognition network on <dataset_path>/train.rec and verify it on the .bin sets beside it.

  CUDA_VISIBLE_DEVICES='0,1,2,3' python -u train.py --network r100 --loss arcface --dataset emore
  CUDA_VISIBLE_DEVICES='' python -u train.py --network y1 --loss cosface16 --dataset orl     # small data, on the CPU

  torchrun --nproc-per-node 4 train.py --network r100 --loss arcface --dataset emore     # also on many machines

Settings come from config.py (a copy of sample_config.py); --network, --loss and --dataset name entries in it.
Output: <models-root>/<network>-<loss>-<dataset>/ with model-symbol.json, model-NNNN.params, state/ and tensorboard/."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    return train_on_ranks(argv, MODULE, partial(parse_arguments, description=DESCRIPTION))


if __name__ == "__main__":
    sys.exit(main())
