"""Write the three MTCNN networks from the weights in the mtcnn wheel.

python src/align/get_mtcnn.py --output models/mtcnn
"""

import sys

from mxface.align.get_mtcnn import main

if __name__ == "__main__":
    sys.exit(main())
