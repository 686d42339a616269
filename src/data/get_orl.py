"""The ORL photographs as folders to train and to verify on.

python src/data/get_orl.py --output datasets/orl-photographs
"""

import sys

from mxface.data.get_orl import main

if __name__ == "__main__":
    sys.exit(main())
