"""Train a face recognition network: train.py by its other name, that of the Combined Margin.

CUDA_VISIBLE_DEVICES='0,1,2,3' python -u train_softmax.py --network r100 --loss combined --dataset emore
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.recognition.train_softmax")
