"""SVG: well-formed, and every value where its axis says."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from mxface.eval.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Rule, Series, chart, nice_ticks, outline

UNIT = Axis(label="x", low=0, high=1, ticks=[0, 0.5, 1])
DECADES = Axis(label="rate", low=0.001, high=1, ticks=[0.001, 0.01, 0.1, 1], logarithmic=True)


def drawn_points(x: list[float], y: list[float], x_axis: Axis = UNIT) -> list[tuple[float, float]]:
    image = chart([Series(style="same", x=np.array(x), y=np.array(y))], x_axis, UNIT, description="a line")
    path = next(node for node in ElementTree.fromstring(image).iter("path") if node.get("class") == "line same")
    return [(float(a), float(b)) for a, b in re.findall(r"([\d.]+) ([\d.]+)", path.get("d", ""))]


def test_corners_of_the_plot() -> None:
    assert drawn_points([0, 1], [0, 1]) == [(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]


def test_a_logarithmic_axis_gives_decades_equal_room_and_clips_zero() -> None:
    across = [point[0] for point in drawn_points([0, 0.001, 0.01, 0.1, 1], [0, 0.1, 0.3, 0.2, 1], DECADES)]
    assert across[0] == across[1] == LEFT
    np.testing.assert_allclose(np.diff(across[1:]), (WIDTH - LEFT - RIGHT) / 3, atol=0.11)


def test_points_on_a_straight_run_are_left_out() -> None:
    steps = drawn_points([0, 0.1, 0.2, 0.2, 0.2, 0.5, 1], [0, 0, 0, 0.3, 0.6, 0.6, 0.6])
    assert len(steps) == 4
    assert len(drawn_points([0, 0.1, 0.2, 0.3], [0, 0.1, 0.2, 0.3])) == 4  # a slope keeps its points


def test_words_are_escaped_and_the_description_is_for_screen_readers() -> None:
    axis = Axis(label="a < b & c", low=0, high=1, ticks=[0])
    image = chart([], axis, UNIT, description='say "<b>"', rules=[Rule(x=0.2, label="x<y"), Rule(x=0.9, label="right")])
    root = ElementTree.fromstring(image)
    assert root.get("aria-label") == 'say "<b>"'
    assert root.get("role") == "img"
    texts = {node.text: node.get("class") for node in root.iter("text")}
    assert texts["a < b & c"] == "label"
    assert (texts["x<y"], texts["right"]) == ("tick after", "tick side")


def test_an_outline_closes_at_zero_and_adds_up_to_100() -> None:
    x, y = outline(np.array([0.1, 0.1, 0.6, 0.9]), np.linspace(0, 1, 3))
    assert x.tolist() == [0, 0, 0.5, 0.5, 1, 1]
    assert y.tolist() == [0, 50, 50, 50, 50, 0]
    assert outline(np.array([]), np.linspace(0, 1, 3))[1].tolist() == [0] * 6


@pytest.mark.parametrize(
    ("high", "ticks"),
    [
        (2.4, [0, 0.5, 1, 1.5, 2, 2.5]),
        (4, [0, 1, 2, 3, 4]),
        (9, [0, 2, 4, 6, 8, 10]),
        (0.1, [0, 0.02, 0.04, 0.06, 0.08, 0.1]),
    ],
)
def test_nice_ticks(high: float, ticks: list[float]) -> None:
    np.testing.assert_allclose(nice_ticks(high), ticks)
