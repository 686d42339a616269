"""Train a face recognition network, on one or many GPUs, or on the CPU.

CUDA_VISIBLE_DEVICES='0,1,2,3' python -u train.py --network r100 --loss arcface --dataset emore
"""

import sys

from mxface.recognition.train import main

if __name__ == "__main__":
    sys.exit(main())
