"""Verification by ranks together: one rank's figures, from pictures of which each has a share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from tests.support.faces import encoded_pairs
from tests.support.ranks import run_threads

from mxface.errors import DataError
from mxface.eval.protocol import decode_pair_set, verify
from mxface.ranks import Ranks
from mxface.recognition.preflight import collect_thumbnails
from mxface.train.checkpoint import SaveRule
from mxface.train.judge import Judge
from mxface.train.overlap import thumbnails

SIZE = (56, 56)
FILES = encoded_pairs(10, size=SIZE)
PICTURES = 15
WEIGHTS = np.random.default_rng(0).normal(size=(56 * 56 * 3, 6)).astype(np.float32)


class Pixels:
    """A learner of weighted pixels, which notes how many images it has seen."""

    def __init__(self) -> None:
        self.seen = 0

    def average_statistics(self) -> None:
        """There are none."""

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.seen += len(images)
        return images.reshape(len(images), -1).astype(np.float32) @ WEIGHTS / 1000


class Diverged(Pixels):
    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return super().embed(images) * np.float32(np.nan)


def verify_on(ranks: Ranks, learner: Pixels) -> tuple[list[str], list[int]]:
    """What is said, and the numbers of the models saved."""
    said: list[str] = []
    saved: list[int] = []

    def save(number: int) -> Path:
        saved.append(number)
        return Path("model")

    log = SimpleNamespace(say=said.append, scalars=lambda *_: None, mxnet_line=lambda _: None)
    pairs = decode_pair_set("people", *FILES, SIZE, share=ranks.share)
    Judge(learner, [pairs], SaveRule(ckpt=2), save, batch_size=8, log=log, ranks=ranks).verify(4)  # type: ignore[arg-type]
    return said, saved


def figures(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if line.startswith("[")]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_ranks_together_have_the_figures_of_one(count: int) -> None:
    expected = verify(Pixels().embed, decode_pair_set("people", *FILES, SIZE))
    learners = [Pixels() for _ in range(count)]
    for said, saved in run_threads(lambda ranks: verify_on(ranks, learners[ranks.rank]), count):
        xnorm, *accuracies = figures(said)
        name, _, value = xnorm.partition(": ")  # sums of another batch are rounded otherwise
        assert (name, float(value)) == ("[people][4]XNorm", pytest.approx(expected.xnorm, rel=1e-6))
        assert accuracies == [
            f"[people][4]Accuracy-Flip: {expected.acc2:1.5f}+-{expected.std2:1.5f}",
            f"[4]Accuracy-Highest: {expected.acc2:1.5f}",
        ]
        assert saved == [1]
    assert [learner.seen for learner in learners] == [
        2 * len(Ranks(rank, count).share(PICTURES)) for rank in range(count)
    ]


def test_all_ranks_refuse_a_model_that_has_diverged() -> None:
    def fail_on(ranks: Ranks) -> str:
        with pytest.raises(DataError) as caught:
            verify_on(ranks, Diverged())
        return str(caught.value)

    accounts = run_threads(fail_on, 2)
    assert accounts[0] == accounts[1]
    assert f"{PICTURES} of {PICTURES} embeddings are not finite" in accounts[0]


def test_more_ranks_than_pictures() -> None:
    """Those without a picture embed none."""
    files = [FILES[0][0], FILES[0][1]] * 10

    def verify_few(ranks: Ranks) -> int:
        pairs = decode_pair_set("few", files, [True, False] * 5, SIZE, share=ranks.share)
        log = SimpleNamespace(say=lambda _: None, scalars=lambda *_: None)
        learner = Pixels()
        Judge(learner, [pairs], SaveRule(ckpt=0), Path, batch_size=8, log=log, ranks=ranks).verify(4)  # type: ignore[arg-type]
        return learner.seen

    assert run_threads(verify_few, 3) == [2, 2, 0]


def test_the_main_rank_gets_the_thumbnails_of_all_pictures() -> None:
    whole = decode_pair_set("people", *FILES, SIZE)

    def collect(ranks: Ranks) -> npt.NDArray[np.float32]:
        return collect_thumbnails([decode_pair_set("people", *FILES, SIZE, share=ranks.share)], ranks)["people"]

    np.testing.assert_array_equal(run_threads(collect, 2)[0], thumbnails(whole.images))
