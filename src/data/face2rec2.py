"""Pack listed faces into train.rec and train.idx.

python src/data/face2rec2.py datasets/faces --image-size 112,112 --num-thread 4
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.data.face2rec2")
