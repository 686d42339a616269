"""Pack the pairs of a folder in LFW's layout into a verification set.

python src/data/lfw2pack.py --data-dir datasets/lfw --output datasets/faces/lfw.bin
"""

import sys

from mxface.data.lfw2pack import main

if __name__ == "__main__":
    sys.exit(main())
