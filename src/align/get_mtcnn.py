"""Write the three MTCNN networks from the weights in the mtcnn wheel.

python src/align/get_mtcnn.py --output models/mtcnn
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.align.get_mtcnn")
