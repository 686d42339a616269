"""Train with a softmax loss, every setting a flag.

python -u src/train_softmax.py --data-dir datasets/faces_emore --network r50 --loss-type 4 --prefix models/r50/model
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.train_softmax")
