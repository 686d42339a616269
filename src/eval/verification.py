"""Verify models on packed sets of pairs.

python src/eval/verification.py --data-dir datasets/orl --model models/orl/model,1 --target orl --baseline pixels
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.eval.verification")
