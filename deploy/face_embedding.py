"""Embed loosely cropped faces; or, as in 2019, `from face_embedding import FaceModel` in this folder.

cd deploy && python face_embedding.py --model ../models/y1/model,0 --image a.jpg b.jpg --output embeddings.npy
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.deploy.face_embedding")

from mxface.deploy.face_embedding import FaceModel  # the door is a module, too

__all__ = ["FaceModel"]
