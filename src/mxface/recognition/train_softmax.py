"""Train a face recognition network: the command `recognition/train_softmax.py`, another name of `train.py`.

2019's text on the Combined Margin loss calls it so; `src/train_softmax.py` is another, older command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from mxface.cli import command
from mxface.recognition.arguments import parse_arguments
from mxface.recognition.train import DESCRIPTION
from mxface.recognition.training import train_on_ranks

MODULE = "mxface.recognition.train_softmax"
EXAMPLE = """

The Combined Margin of 2019:

  CUDA_VISIBLE_DEVICES='0,1,2,3' python -u train_softmax.py --network r100 --loss combined --dataset emore"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    return train_on_ranks(argv, MODULE, partial(parse_arguments, description=DESCRIPTION + EXAMPLE))


if __name__ == "__main__":
    sys.exit(main())
