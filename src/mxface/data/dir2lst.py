"""`dir2lst.py`: list the aligned images of a folder, one sub-folder a person, for `face2rec2.py`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mxface.cli import HelpFormatter, command
from mxface.data.folders import list_faces
from mxface.errors import DataError
from mxface.formats.lst import ListItem, format_line

MIN_IMAGES = 2

DESCRIPTION = f"""\
List the aligned images of DIR/PERSON/ on stdout: a line `1<TAB>path<TAB>label` each.

Persons and images come in the order of their names; labels count up from 0. A person with fewer than {MIN_IMAGES}
images is left out. Paths begin as DIR was given, so pack from the same working folder, or give DIR in full.

  python src/data/dir2lst.py datasets/aligned > datasets/faces/train.lst
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the list."""
    parser = argparse.ArgumentParser(prog="dir2lst.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("dir", metavar="DIR", help="folder with one folder of aligned images a person")
    args = parser.parse_args(argv)
    count = 0
    for face in list_faces(args.dir, min_images=MIN_IMAGES):
        print(format_line(ListItem(aligned=True, path=str(face.path), label=face.label, bbox=None, landmark=None)))
        count += 1
    if count == 0:
        raise DataError(f"no folder in {args.dir} holds {MIN_IMAGES} or more images")
    return 0
