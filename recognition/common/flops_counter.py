"""Count the operations of a saved network's forward pass.

cd recognition/common && python flops_counter.py --model ../../models/r50-arcface-emore/model,1
"""

import sys

from mxface.recognition.common.flops_counter import main

if __name__ == "__main__":
    sys.exit(main())
