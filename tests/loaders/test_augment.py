"""Augmentations as functions of their draws; 2019's pixels are in tests/oracle/test_transforms.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.faces import photograph

from mxface.errors import ConfigError
from mxface.loaders.augment import (
    JITTER_ORDERS,
    Augmentation,
    Draw,
    color_jitter,
    cut_out,
    mirror,
    recompress,
)
from mxface.loaders.epoch import DRAWS_PER_POSITION, position_draws


def draws(**values: float) -> np.ndarray:
    """A row of draws: 0.5 (nothing happens, factors are 1) but for those named."""
    row = np.full(DRAWS_PER_POSITION, 0.5)
    for name, value in values.items():
        row[Draw[name.upper()]] = value
    return row


def test_every_draw_has_its_own_column() -> None:
    assert len(set(Draw)) == len(Draw.__members__)
    assert max(Draw) < DRAWS_PER_POSITION


def test_all_off_changes_nothing() -> None:
    nothing = Augmentation(rand_mirror=False, color=0, cutoff=0)
    for row in position_draws(0, 0, 0, 20):
        assert (nothing.apply(photograph(1), row) == photograph(1)).all()


def test_mirror_happens_below_a_half() -> None:
    augmentation = Augmentation(rand_mirror=True, color=0, cutoff=0)
    assert (augmentation.apply(photograph(1), draws(mirror=0.49)) == photograph(1)[:, ::-1]).all()
    assert (augmentation.apply(photograph(1), draws(mirror=0.5)) == photograph(1)).all()


@pytest.mark.parametrize("width", [1, 2, 3, 111, 112])
def test_mirror_in_place_at_every_width(width: int) -> None:
    image = photograph(2, 1, (9, width))
    expected = image[:, ::-1].copy()
    mirror(image)
    assert (image == expected).all()


@pytest.mark.parametrize(("draw", "quality"), [(0.0, 2), (0.5, 11), (1 - 2**-53, 20)])
def test_recompression_takes_qualities_2_to_20(draw: float, quality: int) -> None:
    augmentation = Augmentation(rand_mirror=False, color=2, cutoff=0)
    result = augmentation.apply(photograph(3), draws(recompress=0.0, quality=draw))
    assert result.dtype == np.float32
    assert np.allclose(result, recompress(photograph(3), quality), atol=1e-3)
    assert (augmentation.apply(photograph(3), draws(recompress=0.5)) == photograph(3)).all()


def test_jitter_is_float_and_unclipped_within_an_eighth() -> None:
    augmentation = Augmentation(rand_mirror=False, color=1, cutoff=0)
    white = np.full((8, 8, 3), 255, np.uint8)
    assert np.allclose(augmentation.apply(white.copy(), draws(brightness=1 - 2**-53)), 255 * 1.125)
    assert np.allclose(augmentation.apply(white.copy(), draws(brightness=0.0)), 255 * 0.875)


@given(st.integers(0, 10**6))
def test_neutral_factors_change_nothing_in_any_order(seed: int) -> None:
    order = JITTER_ORDERS[seed % len(JITTER_ORDERS)]
    image = photograph(seed, 1, (16, 16))
    assert np.allclose(color_jitter(image, [1.0, 1.0, 1.0], order), image, atol=1e-3)


def test_contrast_keeps_the_mean_and_saturation_the_grey() -> None:
    image = photograph(4).astype(np.float64)
    luma = np.array([0.299, 0.587, 0.114])
    contrasted = color_jitter(photograph(4), [1.0, 1.1, 1.0], (1,))
    assert (contrasted @ luma).mean() == pytest.approx((image @ luma).mean(), rel=1e-5)
    saturated = color_jitter(photograph(4), [1.0, 1.0, 0.9], (2,))
    assert np.allclose(saturated @ luma, image @ luma, atol=1e-2)
    assert not np.allclose(saturated, image, atol=1)


def test_all_jitter_orders_occur() -> None:
    """Each of the six, as often as the others."""
    columns = position_draws(1, 0, 0, 6000)[:, Draw.JITTER_ORDER]
    counts = np.bincount((columns * len(JITTER_ORDERS)).astype(int))
    assert len(counts) == 6
    assert counts.min() > 850


@given(st.integers(0, 19), st.integers(0, 29), st.integers(1, 50))
def test_cut_out_is_a_clipped_square(y: int, x: int, side: int) -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    cut_out(image, y, x, side)
    rows, columns = np.mgrid[:20, :30]
    half = side // 2
    inside = (rows >= y - half) & (rows < y + half) & (columns >= x - half) & (columns < x + half)
    assert (image == np.where(inside, 128, 0)[:, :, None]).all()


def test_cut_out_comes_last_and_half_the_time() -> None:
    augmentation = Augmentation(rand_mirror=False, color=1, cutoff=10)
    cut = augmentation.apply(photograph(5), draws(cutoff=0.0, centre_y=0.5, centre_x=0.25, brightness=0.9))
    assert (cut[51:61, 23:33] == 128).all()
    assert (cut == 128).all(axis=2).sum() == 100
    uncut = augmentation.apply(photograph(5), draws(brightness=0.9))
    assert (uncut[cut != 128] == cut[cut != 128]).all()


@pytest.mark.parametrize("setting", [{"color": -1, "cutoff": 0}, {"color": 0, "cutoff": -3}])
def test_senseless_settings_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        Augmentation(rand_mirror=True, **setting)
