"""Pack the pairs of a folder in LFW's layout into a verification set.

python src/data/lfw2pack.py --data-dir datasets/lfw --output datasets/faces/lfw.bin
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.data.lfw2pack")
