"""Train a face recognition network, on one or many GPUs, or on the CPU.

CUDA_VISIBLE_DEVICES='0,1,2,3' python -u train.py --network r100 --loss arcface --dataset emore
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.recognition.train")
