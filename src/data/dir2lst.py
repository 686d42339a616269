"""List aligned images, one folder a person, for face2rec2.py.

python src/data/dir2lst.py datasets/aligned > datasets/faces/train.lst
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.data.dir2lst")
