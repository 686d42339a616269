"""Train with a triplet loss, every setting a flag.

python -u src/train_triplet.py --data-dir datasets/faces_emore --pretrained models/r50/model,1 --prefix models/t/model
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.train_triplet")
