"""Train a face recognition network: train.py by its other name, that of the Combined Margin.

CUDA_VISIBLE_DEVICES='0,1,2,3' python -u train_softmax.py --network r100 --loss combined --dataset emore
"""

import sys

from mxface.recognition.train_softmax import main

if __name__ == "__main__":
    sys.exit(main())
