"""Look into training states and models; make a model of a state; split class centres and merge them.

cd recognition/common && python checkpoint.py inspect ../../models/r100-arcface-emore
"""

import sys

from mxface.recognition.common.checkpoint import main

if __name__ == "__main__":
    sys.exit(main())
