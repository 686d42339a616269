"""What the deploy commands refuse before they work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mxface.deploy.arguments import picture_targets
from mxface.deploy.face import decode_gender_age
from mxface.errors import ConfigError, GraphError


def test_pictures_are_named_after_their_images(tmp_path: Path) -> None:
    images = [tmp_path / "a" / "x.jpg", tmp_path / "a" / "y.png"]
    assert picture_targets(tmp_path / "out", images) == [tmp_path / "out" / "x.png", tmp_path / "out" / "y.png"]


@pytest.mark.parametrize("names", [("out/x.png",), ("a/x.png", "b/x.jpg")], ids=["the image itself", "one another"])
def test_nothing_is_overwritten(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"x\.png would be overwritten"):
        picture_targets(tmp_path / "out", [tmp_path / name for name in names])


def test_another_network_is_no_gender_age_network() -> None:
    with pytest.raises(GraphError, match="gives 202 numbers, this one 128"):
        decode_gender_age(np.zeros(128, np.float32))
