"""Align the face in every photograph of a folder and list the results.

python src/align/align_lfw.py --input-dir datasets/lfw/raw --output-dir datasets/lfw/aligned
"""

import sys

from mxface.align.align_lfw import main

if __name__ == "__main__":
    sys.exit(main())
