"""Train a face recognition network with very many classes, their centres split over GPUs.

CUDA_VISIBLE_DEVICES='0,1,2,3' python -u train_parall.py --network r100 --loss arcface --dataset emore
"""

import sys

from mxface.recognition.train_parall import main

if __name__ == "__main__":
    sys.exit(main())
