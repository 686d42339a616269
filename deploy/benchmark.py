"""Seconds that one face takes, detection and embedding together.

cd deploy && python benchmark.py --model ../models/y1/model,0 --image face.jpg --count 100
"""

import sys

from mxface.deploy.benchmark import main

if __name__ == "__main__":
    sys.exit(main())
