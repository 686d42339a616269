"""Train with a softmax loss by 2019's older flags: the command `src/train_softmax.py`. The trainer is recognition's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from mxface.cli import command
from mxface.recognition.src_arguments import parse_softmax_arguments
from mxface.recognition.training import train_on_ranks

MODULE = "mxface.train_softmax"
DESCRIPTION = """\
Train a face recognition network with a softmax loss, every setting a flag (recognition/train.py has a config file).

  python -u src/train_softmax.py --data-dir datasets/faces_emore --network r50 --loss-type 4 --prefix models/r50/model
  python -u src/train_softmax.py --data-dir datasets/orl --network y1 --loss-type 2 --margin-s 16 --margin-m 0.2 \\
      --per-batch-size 30 --lr-steps 180,254 --max-steps 299 --verbose 60 --target orl --ckpt 2 --prefix orl/model

--data-dir holds train.rec, train.idx, property and the verification sets (<target>.bin).
Output: PREFIX-symbol.json and PREFIX-NNNN.params, class centres and all, state/ and tensorboard/ beside them."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    return train_on_ranks(argv, MODULE, partial(parse_softmax_arguments, description=DESCRIPTION))


if __name__ == "__main__":
    sys.exit(main())
