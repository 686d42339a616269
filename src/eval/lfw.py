"""Verify a model on LFW's folders and pairs.txt.

python src/eval/lfw.py --data-dir datasets/lfw --image-size 112,112 --model models/model-y1-test2/model,0
"""

import sys

from mxface.eval.lfw import main

if __name__ == "__main__":
    sys.exit(main())
