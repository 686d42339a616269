"""Verification pictures that are training pictures, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.support.faces import encode, photograph
from tests.support.records import face_image, pack_people

from mxface.eval.protocol import PairSet
from mxface.loaders import RecordDataset
from mxface.loaders.decode import decode_image
from mxface.train import overlap
from mxface.train.overlap import SAME_PICTURE, Overlap, Thumbnails, find_overlaps, known_pairs, thumbnails


def rows_of(*encoded: bytes) -> Thumbnails:
    return thumbnails([decode_image(picture) for picture in encoded])


def pair_set(name: str, count: int, issame: Sequence[bool] = ()) -> PairSet:
    """Pictures 0 and 1, 2 and 3, and so on, of `count`; without pixels, which nobody looks at."""
    images = np.empty((count, 0, 0, 3), np.uint8)
    same = np.array(issame or [False] * (count // 2))
    return PairSet(name=name, images=images, items=np.arange(count), issame=same)


def overlaps_of(dataset: RecordDataset, threads: int = 1, **pictures: Thumbnails) -> list[Overlap]:
    pair_sets = [pair_set(name, len(rows)) for name, rows in pictures.items()]
    return find_overlaps(dataset, pair_sets, pictures, threads=threads)


@pytest.fixture
def dataset(tmp_path: Path) -> RecordDataset:
    """12 pictures, of person `key` each, of 4 identities."""
    return RecordDataset(pack_people(tmp_path / "train.rec", [3, 3, 3, 3]))


def again(encoded: bytes, quality: int) -> bytes:
    """The same picture under another compression."""
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def test_pictures_of_the_training_set_are_found_and_others_are_not(dataset: RecordDataset) -> None:
    fresh = rows_of(*(encode(photograph(50 + number, 1)) for number in range(6)))
    same = rows_of(face_image(2), again(face_image(5), 70), face_image(60), again(face_image(6), 90))
    assert overlaps_of(dataset, fresh=fresh) == []
    (found,) = overlaps_of(dataset, fresh=fresh, same=same, threads=2)
    assert (found.name, found.found, found.pictures, found.labels) == ("same", 3, 4, (0, 1))
    assert (found.looked_at, found.training) == (12, 12)
    assert found.example == 1  # key 2, of label 0
    assert (found.known, found.pairs) == (2, 2)


def test_a_person_known_by_one_picture_is_known_in_all_pairs() -> None:
    """Pictures 0, 1, 2 are one person by pairs 1 and 2; 3 and 4 another; 5 to 8 are strangers to both."""
    items = np.array([1, 5, 0, 1, 2, 1, 2, 3, 3, 4, 4, 6, 7, 8, 6, 8])
    issame = np.array([False, True, True, False, True, False, True, False])
    pairs = PairSet(name="people", images=np.empty((9, 0, 0, 3), np.uint8), items=items, issame=issame)
    first, third = (np.arange(9) == number for number in (0, 3))
    assert known_pairs(pairs, first).tolist() == [True, True, True, True, False, False, False, False]
    assert known_pairs(pairs, third).tolist() == [False, False, False, True, True, True, False, False]
    assert known_pairs(pairs, first | third).sum() == 6


def test_of_a_large_set_a_sample_is_looked_at(dataset: RecordDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "LOOKED_AT", 4)
    (found,) = overlaps_of(dataset, same=rows_of(*(face_image(key) for key in (1, 2, 4, 5))))
    assert (found.looked_at, found.found) == (4, 2)  # keys 1, 4, 7 and 10


def test_damaged_records_are_passed_over(tmp_path: Path) -> None:
    dataset = RecordDataset(pack_people(tmp_path / "train.rec", [2, 2], images={1: b"no picture"}))
    (found,) = overlaps_of(dataset, same=rows_of(face_image(3), face_image(2)))
    assert (found.looked_at, found.found) == (3, 2)


def test_a_set_of_which_nothing_can_be_read_has_no_overlap(tmp_path: Path) -> None:
    dataset = RecordDataset(pack_people(tmp_path / "train.rec", [2], images={1: b"nothing", 2: b"of an image"}))
    assert overlaps_of(dataset, same=rows_of(face_image(3), face_image(2))) == []


def test_photographs_of_real_people_are_told_apart(assets: Path) -> None:
    """What the threshold rests on: LFW, where aligned faces of one person are most alike."""
    import tarfile

    pictures, people = [], []
    with tarfile.open(assets / "lfw" / "lfw-112x112.tar.gz") as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".jpg"):
                file = archive.extractfile(member)
                assert file is not None
                pictures.append(decode_image(file.read()))
                people.append(Path(member.name).parent.name)
            if len(pictures) == 1500:
                break
    rows = thumbnails(pictures)
    alike = rows @ rows.T
    other = np.array(people)[:, None] != np.array(people)[None, :]
    assert alike[other].max() < SAME_PICTURE - 0.01
    for picture in pictures[::100]:
        encoded = encode(picture)
        assert thumbnails([picture])[0] @ thumbnails([decode_image(again(encoded, 75))])[0] > SAME_PICTURE
