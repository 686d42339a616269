"""Write a checkpoint as an ONNX file, checked in ONNX Runtime on the spot.

cd deploy && python export_onnx.py --model ../models/y1/model,0 --output y1.onnx
"""

import sys

from mxface.deploy.export_onnx import main

if __name__ == "__main__":
    sys.exit(main())
