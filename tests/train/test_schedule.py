"""The learning rate and the margin as functions of the batch number."""

from __future__ import annotations

import pytest

from mxface.errors import ConfigError
from mxface.train.schedule import StepSchedule, margin_share, parse_lr_steps


def test_parse() -> None:
    assert parse_lr_steps("100000,160000,220000") == (100000, 160000, 220000)
    assert parse_lr_steps("5") == (5,)


@pytest.mark.parametrize("text", ["", "1,,2", "many"])
def test_what_is_no_list_says_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError, match="never reached"):
        parse_lr_steps(text)


def test_drops_as_2019_multiplies() -> None:
    schedule = StepSchedule(0.1, (3, 5, 5))
    lr, rates = 0.1, []
    for batch in range(1, 8):  # the callback of 2019, batch by batch
        if batch in (3, 5, 5):
            lr *= 0.1
        rates.append(lr)
    assert [schedule.lr_after(batch) for batch in range(1, 8)] == rates
    assert schedule.lr_after(0) == 0.1
    assert [batch for batch in range(1, 8) if schedule.drops_after(batch)] == [3, 5]


def test_the_margin_grows_from_nothing_to_all() -> None:
    assert [margin_share(step, 4) for step in range(1, 8)] == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert margin_share(1, 0) == 1
