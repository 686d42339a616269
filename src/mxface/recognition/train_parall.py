"""Train with the classes split over the ranks: the command `recognition/train_parall.py`.

The trainer is train.py's, whose classes are split over ranks, too. This command adds `--sample-rate`, and keeps 2019's
ways: plain softmax without bias, negative margins that count, its speed line and its line of accuracy.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from mxface.cli import command
from mxface.recognition.arguments import parse_arguments
from mxface.recognition.training import train_on_ranks

MODULE = "mxface.recognition.train_parall"
DESCRIPTION = """\
Train a face recognition network with very many classes: each GPU, or each of --ranks, holds the centres of its share.

  CUDA_VISIBLE_DEVICES='0,1,2,3' python -u train_parall.py --network r100 --loss arcface --dataset emore
  python -u train_parall.py --network r100 --loss arcface --dataset emore --sample-rate 0.1     # a tenth of the centres
  torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:PORT train_parall.py --network r100

The softmax is exact, over all classes (--sample-rate 1). Settings, data and output are those of train.py; the models
hold the embedding alone, the centres are in state/."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    return train_on_ranks(argv, MODULE, partial(parse_arguments, description=DESCRIPTION, parall=True))


if __name__ == "__main__":
    sys.exit(main())
