"""Pack listed faces into train.rec and train.idx.

python src/data/face2rec2.py datasets/faces --image-size 112,112 --num-thread 4
"""

import sys

from mxface.data.face2rec2 import main

if __name__ == "__main__":
    sys.exit(main())
