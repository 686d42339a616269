"""What chance decides in an epoch, as pure functions: the order of (seed, epoch), the draws of (seed, epoch, position).

Nothing else is random in training data, so a run can stop anywhere and go on with the same images and augmentations.
The numbers are Philox's raw 64-bit words, which NumPy promises to keep; the streams of `Generator` may change with a
NumPy release, and a resumed run would change with them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Columns of `position_draws`; a multiple of 4, because Philox makes 4 words a count.
DRAWS_PER_POSITION = 12
_ORDER_STREAM, _DRAW_STREAM = 0, 1


def epoch_order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """A permutation of `range(count)`."""
    words = _philox(seed, epoch, _ORDER_STREAM, block=0).random_raw(count)
    return np.argsort(words, kind="stable")


def position_draws(seed: int, epoch: int, start: int, count: int) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1), (count, DRAWS_PER_POSITION), for the positions from `start` in the epoch's order."""
    words_per_count = 4
    stream = _philox(seed, epoch, _DRAW_STREAM, block=start * (DRAWS_PER_POSITION // words_per_count))
    words = np.asarray(stream.random_raw((count, DRAWS_PER_POSITION)), dtype=np.uint64)
    return np.asarray((words >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def _philox(seed: int, epoch: int, stream: int, *, block: int) -> np.random.Philox:
    """The generator keyed by (seed, epoch, stream), moved on by `block` counts."""
    key = np.array([seed % 2**64, 2 * epoch + stream], dtype=np.uint64)
    return np.random.Philox(key=key, counter=block)
