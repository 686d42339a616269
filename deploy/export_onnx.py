"""Write a checkpoint as an ONNX file, checked in ONNX Runtime on the spot.

cd deploy && python export_onnx.py --model ../models/y1/model,0 --output y1.onnx
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.deploy.export_onnx")
