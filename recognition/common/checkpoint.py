"""Look into training states and models; make a model of a state; split class centres and merge them.

cd recognition/common && python checkpoint.py inspect ../../models/r100-arcface-emore
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.recognition.common.checkpoint")
