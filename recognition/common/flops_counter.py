"""Count the operations of a saved network's forward pass.

cd recognition/common && python flops_counter.py --model ../../models/r50-arcface-emore/model,1
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.recognition.common.flops_counter")
