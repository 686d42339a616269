"""Write the `.idx` of a `.rec` anew, from the records themselves.

    python -m mxface.formats.rebuild_index datasets/faces/train.rec

For an index that is lost or belongs to another file; an old one is replaced.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mxface.cli import HelpFormatter, command, setup_logging
from mxface.formats.recordio import rebuild_index, write_index

logger = logging.getLogger(__name__)


@command
def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument("rec", type=Path, nargs="+", help="RecordIO files; FILE.rec gets FILE.idx beside it")
    setup_logging()
    for rec_path in parser.parse_args(argv).rec:
        keys, offsets = rebuild_index(rec_path)
        write_index(rec_path.with_suffix(".idx"), keys, offsets)
        logger.info("%s: %d records", rec_path.with_suffix(".idx"), len(keys))
    return 0


if __name__ == "__main__":
    sys.exit(main())
