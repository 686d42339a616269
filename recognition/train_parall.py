"""Train a face recognition network with very many classes, their centres split over GPUs.

CUDA_VISIBLE_DEVICES='0,1,2,3' python -u train_parall.py --network r100 --loss arcface --dataset emore
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.recognition.train_parall")
