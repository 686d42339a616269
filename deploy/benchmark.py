"""Seconds that one face takes, detection and embedding together.

cd deploy && python benchmark.py --model ../models/y1/model,0 --image face.jpg --count 100
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.deploy.benchmark")
