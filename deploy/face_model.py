"""Write the aligned face of each photograph; or, as in 2019, `from face_model import FaceModel` in this folder.

cd deploy && python face_model.py --image photo.jpg --output aligned
"""

import sys

from mxface.deploy.face_model import FaceModel, main

__all__ = ["FaceModel"]

if __name__ == "__main__":
    sys.exit(main())
