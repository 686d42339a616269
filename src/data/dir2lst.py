"""List aligned images, one folder a person, for face2rec2.py.

python src/data/dir2lst.py datasets/aligned > datasets/faces/train.lst
"""

import sys

from mxface.data.dir2lst import main

if __name__ == "__main__":
    sys.exit(main())
