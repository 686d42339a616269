"""Train with a triplet loss, every setting a flag.

python -u src/train_triplet.py --data-dir datasets/faces_emore --pretrained models/r50/model,1 --prefix models/t/model
"""

import sys

from mxface.train_triplet import main

if __name__ == "__main__":
    sys.exit(main())
