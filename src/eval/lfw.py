"""Verify a model on LFW's folders and pairs.txt.

python src/eval/lfw.py --data-dir datasets/lfw --image-size 112,112 --model models/model-y1-test2/model,0
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.eval.lfw")
