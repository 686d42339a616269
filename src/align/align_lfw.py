"""Align the face in every photograph of a folder and list the results.

python src/align/align_lfw.py --input-dir datasets/lfw/raw --output-dir datasets/lfw/aligned
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.align.align_lfw")
