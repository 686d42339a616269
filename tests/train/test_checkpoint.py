"""2019's rule for saving, its ties included."""

from __future__ import annotations

import pytest

from mxface.train.checkpoint import SaveRule

# accuracies of (lfw, last) over five verifications: a best, a worse one, two ties of the last set, a best
HISTORY = [(0.9, 0.8), (0.99, 0.7), (0.1, 0.8), (0.05, 0.8), (0.9, 0.81)]


@pytest.mark.parametrize(
    ("ckpt", "numbers"),
    [
        (0, [None, None, None, None, None]),
        (1, [1, None, 3, None, 5]),  # the first tie wins although its sum is lower: 2019 noted sums only on ties
        (2, [1, 2, 3, 4, 5]),
        (3, [1, None, 1, None, 1]),
        (7, [1, None, 3, None, 5]),  # other values act as 1
    ],
)
def test_numbers_saved(ckpt: int, numbers: list[int | None]) -> None:
    rule = SaveRule(ckpt=ckpt)
    assert [rule.number_to_save(accuracies) for accuracies in HISTORY] == numbers
    assert rule.best_last == 0.81


@pytest.mark.parametrize(("ckpt", "numbers"), [(1, [None, None]), (2, [1, 2]), (3, [None, None])])
def test_without_validation_sets_nothing_is_best(ckpt: int, numbers: list[int | None]) -> None:
    rule = SaveRule(ckpt=ckpt)
    assert [rule.number_to_save(()) for _ in numbers] == numbers
