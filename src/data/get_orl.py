"""The ORL photographs as folders to train and to verify on.

python src/data/get_orl.py --output datasets/orl-photographs
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.data.get_orl")
