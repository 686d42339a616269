"""Train with a triplet loss by 2019's older flags: the command `src/train_triplet.py`. The trainer is recognition's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from mxface.cli import command
from mxface.recognition.src_arguments import parse_triplet_arguments
from mxface.recognition.training import train_on_ranks

MODULE = "mxface.train_triplet"
DESCRIPTION = """\
Train a face recognition network with a triplet loss, every setting a flag (recognition/train.py has a config file).

  python -u src/train_triplet.py --data-dir datasets/faces_emore --pretrained models/r50/model,1 --lr 0.005 \\
      --per-batch-size 60 --prefix models/r50-triplet/model

With --pretrained, that model's own graph is trained on, whatever --network says; without it, a network from scratch.
--data-dir holds train.rec, train.idx, property and the verification sets (<target>.bin).
Output: PREFIX-symbol.json and PREFIX-NNNN.params, state/ and tensorboard/ beside them."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    return train_on_ranks(argv, MODULE, partial(parse_triplet_arguments, description=DESCRIPTION))


if __name__ == "__main__":
    sys.exit(main())
