"""How many images a second this machine reads, decodes and augments for training, and what bounds it.

python src/data/bench_data.py --data-dir datasets/faces_emore --need 4000
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.data.bench_data")
