"""How many images a second this machine reads, decodes and augments for training, and what bounds it.

python src/data/bench_data.py --data-dir datasets/faces_emore --need 4000
"""

import sys

from mxface.data.bench_data import main

if __name__ == "__main__":
    sys.exit(main())
