"""Train with a softmax loss, every setting a flag.

python -u src/train_softmax.py --data-dir datasets/faces_emore --network r50 --loss-type 4 --prefix models/r50/model
"""

import sys

from mxface.train_softmax import main

if __name__ == "__main__":
    sys.exit(main())
