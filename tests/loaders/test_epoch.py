"""Order and draws: permutations, uniform, and functions of their arguments alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mxface.loaders.epoch import DRAWS_PER_POSITION, epoch_order, position_draws

SEEDS = st.integers(-(2**63), 2**63 - 1)
EPOCHS = st.integers(0, 10**6)


@given(SEEDS, EPOCHS, st.integers(0, 300))
def test_order_is_a_permutation_and_repeats(seed: int, epoch: int, count: int) -> None:
    order = epoch_order(seed, epoch, count)
    assert sorted(order) == list(range(count))
    assert (order == epoch_order(seed, epoch, count)).all()


@given(SEEDS, EPOCHS, st.integers(0, 10**9), st.integers(0, 40), st.integers(0, 40))
def test_draws_belong_to_positions(seed: int, epoch: int, start: int, skipped: int, count: int) -> None:
    """However an epoch is cut into batches, a position has its draws."""
    whole = position_draws(seed, epoch, start, skipped + count)
    assert whole.shape == (skipped + count, DRAWS_PER_POSITION)
    assert (whole[skipped:] == position_draws(seed, epoch, start + skipped, count)).all()
    assert ((whole >= 0) & (whole < 1)).all()


def test_seeds_epochs_and_streams_differ() -> None:
    orders = [epoch_order(seed, epoch, 100).tolist() for seed in (0, 1, -1) for epoch in (0, 1, 2)]
    assert len({tuple(order) for order in orders}) == len(orders)
    draws = [position_draws(seed, epoch, 0, 10).tobytes() for seed in (0, 1, -1) for epoch in (0, 1, 2)]
    assert len(set(draws)) == len(draws)


def test_draws_are_uniform_and_independent() -> None:
    draws = position_draws(7, 3, 0, 20_000)
    assert np.allclose(draws.mean(axis=0), 0.5, atol=0.01)
    assert np.allclose(draws.var(axis=0), 1 / 12, atol=0.003)
    correlation = np.corrcoef(draws.T) - np.eye(DRAWS_PER_POSITION)
    assert np.abs(correlation).max() < 0.03


def test_the_numbers_stay_what_they_are() -> None:
    """A checkpoint resumed by another release must find the same images and augmentations."""
    assert epoch_order(42, 3, 10).tolist() == [9, 7, 4, 3, 0, 8, 1, 5, 6, 2]
    expected = [0.5126755812705487, 0.20473952038071563, 0.10968128593869231]
    assert position_draws(42, 3, 5, 1)[0, :3].tolist() == expected
