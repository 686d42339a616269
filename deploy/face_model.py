"""Write the aligned face of each photograph; or, as in 2019, `from face_model import FaceModel` in this folder.

cd deploy && python face_model.py --image photo.jpg --output aligned
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.deploy.face_model")

from mxface.deploy.face_model import FaceModel  # the door is a module, too

__all__ = ["FaceModel"]
