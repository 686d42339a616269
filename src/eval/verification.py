"""Verify models on packed sets of pairs.

python src/eval/verification.py --data-dir datasets/orl --model models/orl/model,1 --target orl --baseline pixels
"""

import sys

from mxface.eval.verification import main

if __name__ == "__main__":
    sys.exit(main())
