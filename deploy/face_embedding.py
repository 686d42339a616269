"""Embed loosely cropped faces; or, as in 2019, `from face_embedding import FaceModel` in this folder.

cd deploy && python face_embedding.py --model ../models/y1/model,0 --image a.jpg b.jpg --output embeddings.npy
"""

import sys

from mxface.deploy.face_embedding import FaceModel, main

__all__ = ["FaceModel"]

if __name__ == "__main__":
    sys.exit(main())
