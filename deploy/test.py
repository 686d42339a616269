"""Gender, age, place and embedding of the face in a photograph; are two the same person?

cd deploy && python test.py --image a.jpg b.jpg --model ../models/y1/model,0
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.deploy.test")
